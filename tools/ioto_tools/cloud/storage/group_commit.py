"""Group commit: several functions share one transaction, each in a savepoint; their callers get the results after the
commit.

If a function raises, only its own changes are rolled back and only its caller gets the exception.
"""

from concurrent.futures import Future

SIZE = 256  # functions in one transaction at most


class Job:
    """A call of function(conn, *arguments); `done` is the future that its caller waits for."""

    def __init__(self, function, *arguments) -> None:
        self.function = function
        self.arguments = arguments
        self.done = Future()

    def end(self, result, error) -> None:
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


def commit(transaction, jobs) -> None:
    """Run the jobs in one transaction(function, *arguments) and set the result of each."""
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
        if conn.invalidated:  # the connection is lost, and with it the changes of the earlier jobs
            raise
        # Raises if an error such as a full disk has ended the whole transaction: then all jobs fail.
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
        result, error = None, e
    else:
        error = None
    conn.exec_driver_sql("RELEASE SAVEPOINT job")
    return result, error
