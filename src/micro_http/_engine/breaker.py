"""The state of RetryBudget and CircuitBreaker: locked, and without a clock of its own."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from micro_http._engine.policy import CircuitBreaker, RetryBudget
from micro_http._errors import CircuitOpenError

_MAX_ORIGINS = 1024  # failing origins kept; a crawler must not grow the table for ever


class TokenBucket:
    """The retries that a RetryBudget still allows."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._tokens = budget.burst
        self._lock = Lock()

    def deposit(self) -> None:
        """Add the share of one request."""
        with self._lock:
            self._tokens = min(self._budget.burst, self._tokens + self._budget.ratio)

    def take(self) -> bool:
        """Take one token if there is one."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass
class _Circuit:
    failures: int = 0
    opened_at: float | None = None
    trial_under_way: bool = False


class Circuits:
    """One circuit per failing origin."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._circuits: OrderedDict[str, _Circuit] = OrderedDict()
        self._lock = Lock()

    def admit(self, origin: str, now: float) -> None:
        """Admit a try; one trial is admitted when the circuit has been open long enough.

        Raises:
            CircuitOpenError: The circuit is open.
        """
        with self._lock:
            circuit = self._circuits.get(origin)
            if circuit is None or circuit.opened_at is None:
                return
            retry_in = max(0.0, circuit.opened_at + self._breaker.open_for - now)
            if retry_in > 0 or circuit.trial_under_way:
                raise CircuitOpenError(origin, retry_in)
            circuit.trial_under_way = True

    def succeeded(self, origin: str) -> None:
        """Close the circuit."""
        with self._lock:
            self._circuits.pop(origin, None)

    def failed(self, origin: str, now: float) -> None:
        """Count a failure; open the circuit after too many in a row."""
        with self._lock:
            circuit = self._circuits.setdefault(origin, _Circuit())
            self._circuits.move_to_end(origin)
            circuit.failures += 1
            circuit.trial_under_way = False
            if circuit.failures >= self._breaker.failures:
                circuit.opened_at = now
            if len(self._circuits) > _MAX_ORIGINS:
                self._circuits.popitem(last=False)

    def abandoned(self, origin: str) -> None:
        """End a try without a verdict; the next one may be the trial."""
        with self._lock:
            if origin in self._circuits:
                self._circuits[origin].trial_under_way = False
