"""`ioto groups`: thin wrappers around ioto_tools.cloud."""

import click

from ioto_tools.cloud.operators import groups as policies
from ioto_tools.cloud.releases import term_warnings

from .options import data_option, json_option
from .output import print_json, print_table
from .rollout_options import print_warnings
from .site import open_site


@click.group()
def groups() -> None:
    """Manage named policies, for --group of `ioto publish`, `ioto updates set` and `ioto devices`."""


@groups.command("list")
@data_option
@json_option
def list_groups(data: str, json: bool) -> None:
    """List the groups and their policies."""
    with open_site(data) as site:
        found = policies.listed(site)
    if json:
        print_json(found)
    else:
        print_table("Groups", ("name", "policy"), [(each["name"], each["policy"]) for each in found])


@groups.command("set")
@click.argument("name")
@click.argument("policy")
@data_option
@json_option
def set_group(name: str, policy: str, data: str, json: bool) -> None:
    """Save POLICY as the group NAME. Updates already published for the group keep their policy."""
    with open_site(data) as site:
        policies.set_policy(site, name, policy)
        warnings = term_warnings.of_search(site, None, policies.policy(site, name))
    if json:
        print_json({"name": name, "policy": policy, "doubts": warnings})
    else:
        print_warnings(warnings)
        click.echo("group %s: %s" % (name, policy))


@groups.command("remove")
@click.argument("name")
@data_option
@json_option
def remove_group(name: str, data: str, json: bool) -> None:
    """Remove group NAME. Updates published for the group keep its policy."""
    with open_site(data) as site:
        policies.remove(site, name)
    if json:
        print_json({"name": name})
    else:
        click.echo("group %s removed" % name)
