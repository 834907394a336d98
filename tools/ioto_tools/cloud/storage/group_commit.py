"""Group commit: functions that share one transaction, a savepoint each, and whose callers hear of it after the commit.

A function that raises takes back what it did itself; its caller gets the exception, the others nothing of it.
"""

from concurrent.futures import Future

SIZE = 256  # functions in one transaction at most


class Job:
    """function(conn, *arguments); `done` is the future that its caller waits for."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments
        self.done = Future()

    def end(self, result, error):
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


def commit(transaction, jobs):
    """Do the jobs in one transaction(function, *arguments) and tell each what became of it."""
    if not jobs:
        return
    try:
        ended = transaction(_run, jobs)
    except Exception as e:
        ended = [(None, e)] * len(jobs)
    for job, (result, error) in zip(jobs, ended):
        job.end(result, error)


def _run(conn, jobs):
    return [_one(conn, job) for job in jobs]


def _one(conn, job):
    conn.exec_driver_sql("SAVEPOINT job")
    try:
        result = job.function(conn, *job.arguments)
    except Exception as e:
        if conn.invalidated:  # the connection is lost, and with it what the jobs before have done
            raise
        # Fails where a full disk, say, has ended the whole transaction: then none of the jobs is done.
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
        result, error = None, e
    else:
        error = None
    conn.exec_driver_sql("RELEASE SAVEPOINT job")
    return result, error
