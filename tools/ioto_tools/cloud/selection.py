"""Which release a device is offered. Pure.

Policy and rollout limits will stand between newest_first() and offer(): each narrows the list, none reorders it.
"""

from ioto import semver


def precedence(version):
    """What of a valid version SemVer compares: all but the build metadata. Equal texts are equal versions."""
    return version.split("+")[0]


def newest_first(releases):
    """`releases` (mappings with `version`) by falling precedence."""
    return sorted(releases, key=lambda release: semver.parse(release["version"]), reverse=True)


def offer(releases, version):
    """The highest of `releases` that is enabled and newer than `version`, or None. Nothing is newer than no version."""
    if not semver.is_valid(version):
        return None
    running = semver.parse(version)
    for release in newest_first(releases):
        if semver.parse(release["version"]) <= running:
            return None
        if release["enabled"]:
            return release
    return None


def reply(release, url):
    """The body of the answer to a check-in: the four fields of the protocol and `size`; {} for no release.

    Strangers search the text for `"key":`, so the caller writes it compactly and no key stands inside another's value.
    """
    if release is None:
        return {}
    return {
        "url": url,
        "checksum": release["checksum"],
        "update": release["id"],
        "version": release["version"],
        "size": release["size"],
    }
