"""Row lengths at which a model's rotary factors change, so that a row's outputs depend on the length of its batch.

`longrope` uses other factors for all positions once a row is longer than the original training length, `dynamic`
different ones for each length beyond it, and both go by the longest row of a forward (transformers'
`dynamic_rope_update`; Phi-3.5-MoE has a separate class). Rows of one length class have the same factors: only they
share a forward, and a cache is valid while its row stays in its class. The borders are found by probing the modules,
not by their names.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

FACTORS = "inv_freq"  # attribute of transformers' rotary modules, or its suffix if there are several layer types
UNBOUNDED = 1 << 22  # longer than any row
BY_LENGTH = ("dynamic", "longrope")

Outputs = torch.Tensor | tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class LengthClasses:
    """`borders` are the greatest lengths of all but the last class; each length beyond `single` is a separate class."""

    borders: tuple[int, ...] = ()
    single: int = UNBOUNDED

    def last(self, length: int) -> int:
        """The greatest length in the class of this one, which identifies the class."""
        if length > self.single:
            return length
        return next((border for border in self.borders if length <= border), min(self.single, UNBOUNDED))

    def joined(self, others: "LengthClasses") -> "LengthClasses":
        """Classes whose lengths share a class in both."""
        return LengthClasses(tuple(sorted({*self.borders, *others.borders})), min(self.single, others.single))


@dataclass(frozen=True)
class _Pin:
    """Row lengths assumed by rotary modules: `shift` longer than actual, or `rows` [row] each."""

    shift: int = 0
    rows: tuple[int, ...] = ()


_pin: ContextVar[_Pin | None] = ContextVar("rotary_pin", default=None)


class RotaryLengths:
    """The length classes of one network, and contexts that set the lengths its rotary modules assume.

    Made once per network (`rotary_lengths`), which makes its modules stateless: their factors depend on the current
    forward alone, never on an earlier one.
    """

    def __init__(self, network: nn.Module) -> None:
        self._classes = LengthClasses()
        for module in rotary_modules(network):
            found = _classes_of(module)
            if found == LengthClasses():
                continue
            self._classes = self._classes.joined(found)
            module.forward = partial(_pinned, module, module.forward)

    @property
    def vary(self) -> bool:
        """Whether there is more than one class."""
        return self._classes != LengthClasses()

    def last(self, length: int) -> int:
        """The greatest length in the class of this one: rows with the same value may share a forward."""
        pin = _pin.get()
        shift = 0 if pin is None else pin.shift
        return self._classes.last(length + shift) - shift

    def alike(self, lengths: Iterable[int]) -> bool:
        """Whether rows of these lengths are of one class."""
        return not self.vary or len({self.last(length) for length in lengths}) <= 1

    @contextmanager
    def each_alone(self, lengths: Sequence[int], longest: int) -> Iterator[None]:
        """Context in which each row of a forward, padded to `longest`, has the factors of its own length [row].

        For forwards that cannot be split: one graph, or one call of a library.
        """
        if self.alike([*lengths, longest]):
            yield
            return
        pin = _pin.get()
        shift = 0 if pin is None else pin.shift
        with _pinned_to(_Pin(rows=tuple(length + shift for length in lengths))):
            yield

    @contextmanager
    def border_at(self, most: int) -> Iterator[int]:
        """Context in which the first border is at most at that length, so that short rows can probe both sides.

        Yields the border. Rows keep their length, but get the factors of longer ones.
        """
        first = min(self._classes.last(2), UNBOUNDED)
        border = min(first, most)
        with _pinned_to(_Pin(shift=first - border if self.vary else 0)):
            yield border


_known: WeakKeyDictionary[nn.Module, RotaryLengths] = WeakKeyDictionary()


def rotary_lengths(network: nn.Module) -> RotaryLengths:
    """The network's length classes, determined on the first call; it may be on the meta device."""
    if network not in _known:
        _known[network] = RotaryLengths(network)
    return _known[network]


@contextmanager
def _pinned_to(pin: _Pin) -> Iterator[None]:
    token = _pin.set(pin)
    try:
        yield
    finally:
        _pin.reset(token)


def _pinned(
    module: nn.Module,
    forward: Callable[..., Outputs],
    x: torch.Tensor,
    position_ids: torch.Tensor,
    *rest: Any,
    **named: Any,
) -> Outputs:
    """A rotary module's forward, with the lengths set by the context."""

    def at(longest: torch.Tensor | int) -> Outputs:
        # The modules go by the largest position: one more position, cut off again afterwards, sets it. What lies
        # beyond it is padding.
        end = torch.zeros_like(position_ids[..., :1]) + (longest - 1)
        _forget(module)
        out = forward(x, torch.cat([torch.minimum(position_ids, end), end], dim=-1), *rest, **named)
        return _each(lambda part: part[:, :-1], out)

    pin = _pin.get()
    if pin is None or not (pin.shift or pin.rows):
        _forget(module)
        return forward(x, position_ids, *rest, **named)
    if not pin.rows:
        return at(position_ids.max() + 1 + pin.shift)
    found = {length: at(length) for length in set(pin.rows)}

    def of_row(row: int, length: int) -> Outputs:
        return _each(lambda part: part[min(row, len(part) - 1)], found[length])

    parts = [of_row(row, length) for row, length in enumerate(pin.rows)]
    if isinstance(parts[0], torch.Tensor):
        return torch.stack([part for part in parts if isinstance(part, torch.Tensor)])
    return tuple(torch.stack(same) for same in zip(*parts, strict=True))


def _each(change: Callable[[torch.Tensor], torch.Tensor], out: Outputs) -> Outputs:
    return change(out) if isinstance(out, torch.Tensor) else tuple(change(part) for part in out)


def rotary_modules(network: nn.Module) -> list[nn.Module]:
    """The modules that compute a network's rotary factors."""
    return [module for module in network.modules() if any(name.endswith(FACTORS) for name, _ in _own_factors(module))]


def _own_factors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, factors) for name, factors in module.named_buffers(recurse=False) if name.endswith(FACTORS)]


def _types(module: nn.Module) -> dict[str, str]:
    """The rope types of a module by the prefix of its factors' names: one, or one for each type of layer."""
    kinds = getattr(module, "rope_type", None)
    if isinstance(kinds, dict):
        return {f"{layer_type}_": str(kind) for layer_type, kind in kinds.items()}
    return {"": str(kinds)}


def _forget(module: nn.Module) -> None:
    """Resets `dynamic` factors: they shrink by themselves only below the border, not at it."""
    for begin, kind in _types(module).items():
        if "dynamic" not in kind:
            continue
        setattr(module, begin + FACTORS, getattr(module, f"{begin}original_{FACTORS}"))
        setattr(module, f"{begin}max_seq_len_cached", module.original_max_seq_len)


def _classes_of(module: nn.Module) -> LengthClasses:
    """The length classes of a rotary module, from a copy's output for position 1 in rows of many lengths."""
    try:
        twin = _on_cpu(module)
        named = [{"layer_type": begin[:-1]} if begin else {} for begin in _types(module)]
        found = LengthClasses()
        for of_layers in named:
            found = found.joined(_searched(partial(_turned, twin, of_layers)))
        return found
    except Exception:
        # A module with other inputs (an image's patches), or with a different dependence on length: then no two lengths
        # are known to be equivalent.
        by_length = any(kind in name for name in _types(module).values() for kind in BY_LENGTH)
        return LengthClasses(single=0) if by_length else LengthClasses()


def _on_cpu(module: nn.Module) -> nn.Module:
    if all(factors.device.type != "meta" for _, factors in _own_factors(module)):
        return copy.deepcopy(module).cpu()
    make: Callable[[Any], nn.Module] = type(module)
    return make(module.config)


def _turned(module: nn.Module, named: dict[str, str], length: int) -> torch.Tensor:
    """The module's output for position 1 in a row of that length."""
    _forget(module)
    with torch.inference_mode():
        # In float32, since the factors are returned in the input's dtype.
        out = module(torch.zeros(1, 1, dtype=torch.float32), torch.tensor([[1, length - 1]]), **named)
    parts = [out] if isinstance(out, torch.Tensor) else list(out)
    return torch.cat([(torch.view_as_real(part) if part.is_complex() else part)[0, 0].flatten() for part in parts])


def _searched(turned: Callable[[int], torch.Tensor]) -> LengthClasses:
    """Length classes by bisection: lengths between equal ends are assumed equal."""
    borders: list[int] = []
    shortest, end = 2, turned(UNBOUNDED)
    while not torch.equal(first := turned(shortest), end):
        low, high = shortest, UNBOUNDED
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if torch.equal(turned(middle), first) else (low, middle)
        if borders and low == shortest:
            return LengthClasses(tuple(borders), single=borders[-1])
        borders.append(low)
        shortest = low + 1
    return LengthClasses(tuple(borders))
