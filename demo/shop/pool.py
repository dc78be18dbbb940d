"""A small pool of MariaDB connections, of the kind that shops have.

An idle connection is handed out as it is: no ping, no round trip. So after a failover the pool holds
connections that are dead, and the first statement of a transaction finds out. Until then nothing has
happened, so that one statement is tried once more on a fresh connection; anything later is reported to
the caller, because a COMMIT whose answer is missing may or may not have happened.
"""

import contextlib
import threading
import time

import pymysql

# Client-side errors: server gone away, lost connection during query, cannot connect.
_LOST = {0, 2003, 2006, 2013, 2055}


class Busy(Exception):
    """Every connection is in use, and stayed so for as long as a request may wait."""


def connection_lost(error):
    """True when `error` says that the connection is gone, not that the statement was wrong."""
    if isinstance(error, (pymysql.err.InterfaceError, OSError)):
        return True
    return isinstance(error, pymysql.err.OperationalError) and error.args[0] in _LOST


class Pool:
    """At most `size` connections, made when first needed. Thread-safe."""

    def __init__(self, connect, size, wait_seconds):
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle = []

    @contextlib.contextmanager
    def transaction(self, first_statement):
        """Begins a transaction, runs `first_statement`, and yields a cursor that stands on its result.

        Commits when the body ends, rolls back when it raises. Raises Busy, or pymysql's errors.
        """
        if not self._free.acquire(timeout=self._wait_seconds):
            raise Busy("all database connections are in use")
        connection = None
        try:
            connection, cursor = self._begin(first_statement)
            yield cursor
            connection.commit()
            self._give_back(connection)
            connection = None
        finally:
            if connection is not None:
                self._abandon(connection)
            self._free.release()

    def _begin(self, first_statement):
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return connection, self._run_first(connection, first_statement)
            except Exception as error:
                _close(connection)
                if not _was_dead(error):
                    raise
                self._forget_idle()
        fresh = self._connect()
        try:
            return fresh, self._run_first(fresh, first_statement)
        except Exception:
            _close(fresh)
            raise

    def _forget_idle(self):
        """Whatever broke one idle connection has broken the others as well."""
        with self._lock:
            stale, self._idle = self._idle, []
        for connection in stale:
            _close(connection)

    @staticmethod
    def _run_first(connection, statement):
        connection.begin()
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor

    def _give_back(self, connection):
        with self._lock:
            self._idle.append(connection)

    def _abandon(self, connection):
        """After an error: the connection is worth keeping only if it can still roll back."""
        try:
            connection.rollback()
        except Exception:
            _close(connection)
        else:
            self._give_back(connection)


class HealthCheck:
    """Asks the database through one connection of its own, so that a busy pool is no outage.

    The connection has short timeouts. Callers that come while a check runs get its answer, and an
    answer is reused for `reuse_seconds`: probes from three vantage points cost one query.
    """

    def __init__(self, connect, reuse_seconds):
        self._connect = connect
        self._reuse_seconds = reuse_seconds
        self._lock = threading.Lock()
        self._connection = None
        self._answer = (float("-inf"), None)

    def problem(self):
        """None when the database answered, otherwise what is wrong in one sentence."""
        asked = time.monotonic()
        with self._lock:
            when, problem = self._answer
            if when < asked - self._reuse_seconds:
                problem = self._ask()
                self._answer = (time.monotonic(), problem)
            return problem

    def _ask(self):
        reused = self._connection is not None
        error = self._query()
        if error and reused and _was_dead(error):
            error = self._query()
        return f"database: {describe(error)}" if error else None

    def _query(self):
        """None, or the error; after an error there is no connection any more."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                # Each look is whole in itself: an open read transaction would pin an old snapshot.
                self._connection.autocommit(True)
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM product WHERE id = 1")
                cursor.fetchone()
            return None
        except Exception as error:
            if self._connection is not None:
                _close(self._connection)
            self._connection = None
            return error


def _was_dead(error):
    """True when a connection broke before it was used, as opposed to a server that does not answer."""
    return connection_lost(error) and "timed out" not in str(error)


def describe(error):
    """The text of a database error without its number."""
    if isinstance(error, pymysql.err.MySQLError) and len(error.args) > 1:
        return str(error.args[1])
    return str(error) or type(error).__name__


def _close(connection):
    try:
        connection._force_close()  # close() would first talk to a server that may be gone
    except Exception:
        pass
