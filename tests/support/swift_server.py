"""OpenStack Swift with its S3 interface in one process on loopback: an S3 server that checks signatures.

    python swift_server.py FOLDER      prints its port, serves until its standard input ends

One replica; the account of tempauth has the access key test:tester and the secret testing. FOLDER must be on a file
system with extended attributes.
"""

import sys

import eventlet
import eventlet.tpool
import eventlet.wsgi

eventlet.monkey_patch()

from pathlib import Path

import swift.account.server
import swift.container.server
import swift.obj.server
from swift.common import utils
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies
from swift.common.wsgi import loadapp

PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
conn_timeout = 10
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = no
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
"""
PARTS = (("account", swift.account.server.AccountController), ("container", swift.container.server.ContainerController),
         ("object", swift.obj.server.ObjectController))  # fmt: skip


def ring(folder, name, port):
    builder = RingBuilder(4, 1, 1)  # 16 partitions, one replica
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": port, "device": "disk"})
    builder.rebalance()
    builder.get_ring().save(str(folder / (name + ".ring.gz")))


def serve(socket, app):
    eventlet.spawn(
        eventlet.wsgi.server, socket, app, open("/dev/null", "w"), protocol=SwiftHttpProtocol, socket_timeout=120
    )


def main(folder):
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\n")
    (folder / "disks" / "disk").mkdir(parents=True)
    utils.set_swift_dir(str(folder))
    reload_storage_policies()
    conf = {"swift_dir": str(folder), "devices": str(folder / "disks"), "mount_check": "false", "log_level": "CRITICAL"}
    for name, controller in PARTS:
        socket = eventlet.listen(("127.0.0.1", 0))
        ring(folder, name, socket.getsockname()[1])
        serve(socket, controller(conf, logger=utils.get_logger(conf, name)))
    (folder / "proxy.conf").write_text(PROXY.format(folder=folder))
    socket = eventlet.listen(("127.0.0.1", 0))
    serve(socket, loadapp(str(folder / "proxy.conf")))
    print(socket.getsockname()[1], flush=True)
    eventlet.tpool.execute(sys.stdin.read)


main(Path(sys.argv[1]).resolve())
