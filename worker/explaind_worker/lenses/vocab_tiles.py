"""Running values over tiles of the vocabulary: softmax sums, best tokens, ranks."""

import torch

GROUP = 16  # tokens whose maximum logit is checked before the tokens
LOWEST = -1e30  # below every logit, but finite


class Tracked:
    """Tokens tracked in rows [reading, place]: their `ids`, [place, tracked], −1 for none.

    `own` are the logits [token, reading, place] of the `distinct` ones among them (ascending), computed before the
    tiles, so that likelier tokens can be counted.
    """

    def __init__(self, ids: torch.Tensor, distinct: torch.Tensor, own: torch.Tensor) -> None:
        self.ids = ids
        columns = range(ids.shape[1])
        # For each tracked token the places that track it, and its logits there: [reading, place that tracks it].
        self.followed = [(ids[:, t] >= 0).nonzero()[:, 0] for t in columns]
        which = [torch.searchsorted(distinct, ids[places, t]) for t, places in enumerate(self.followed)]
        self.logits = [own[which[t], :, self.followed[t]].t() for t in columns]
        self.larger = [torch.zeros_like(logits, dtype=torch.float64) for logits in self.logits]
        self._everywhere = [len(places) == len(ids) for places in self.followed]

    def count(self, logits: torch.Tensor, first: int, scratch: torch.Tensor) -> None:
        """Counts the tokens of a tile [token, reading, place] that are likelier than the tracked ones.

        `scratch` has the tile's shape: summing floats is several times faster than summing booleans.
        """
        for t, followed in enumerate(self.followed):
            if not len(followed):
                continue
            if self._everywhere[t]:
                self.larger[t] += torch.gt(logits, self.logits[t], out=scratch).sum(0)
            else:
                self.larger[t] += (logits[:, :, followed] > self.logits[t]).float().sum(0)
            # The token itself is excluded, whatever the rounding of its logit here.
            ids = self.ids[followed, t] - first
            inside = ((ids >= 0) & (ids < len(logits))).nonzero()[:, 0]
            if len(inside):
                itself = logits[ids[inside], :, followed[inside]].t()  # [reading, place]
                self.larger[t][:, inside] -= (itself > self.logits[t][:, inside]).double()


class Running:
    """Running values of rows [reading, place] over the tiles so far.

    With s = Σ exp(z − m), t = Σ exp(z − m)·(z − m) and, against the final row f, x = Σ exp(z_f − m_f)·(z − m) the
    entropy is log s − t/s and KL(f ‖ row) = (t_f − x)/s_f − log s_f + log s. The sums are kept in float64.
    """

    def __init__(
        self, shape: tuple[int, int], top: int, tracked: Tracked, final: int | None, device: torch.device
    ) -> None:
        rows = shape[0] * shape[1]
        self._shape = shape
        self._tracked = tracked
        self._final = final
        self._most = torch.full((rows,), LOWEST, dtype=torch.float32, device=device)
        self._sum, self._weighted, self._against = torch.zeros((3, rows), dtype=torch.float64, device=device)
        self._top = torch.full((top, rows), LOWEST, dtype=torch.float32, device=device)
        self._top_ids = torch.zeros((top, rows), dtype=torch.long, device=device)
        self._scratch = torch.empty((2, 0, rows), dtype=torch.float32, device=device)

    def take(self, logits: torch.Tensor, first: int) -> None:
        """Adds a tile [token, row] of tokens from id `first` on; overwrites it."""
        if self._scratch.shape[1] < len(logits):
            self._scratch = logits.new_empty((2, *logits.shape))
        largest = _largest_by_group(logits)
        most = largest.amax(0)
        self._keep_best(logits, largest, most, first)
        scratch = self._scratch[0, : len(logits)]
        self._tracked.count(logits.unflatten(1, self._shape), first, scratch.unflatten(1, self._shape))
        self._add(logits, most)

    def entropy(self) -> torch.Tensor:
        """[reading, place]"""
        return (self._sum.log() - self._weighted / self._sum).clamp(min=0).view(self._shape)

    def divergence(self) -> torch.Tensor | None:
        """KL(final ‖ row), [reading, place]; None without comparison."""
        if self._final is None:
            return None
        sums, weighted = self._sum.view(self._shape), self._weighted.view(self._shape)
        ours, logs = sums[self._final], sums.log()
        found = (weighted[self._final] - self._against.view(self._shape)) / ours - logs[self._final] + logs
        found = found.clamp(min=0)
        found[self._final] = 0.0
        return found

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and log-probabilities of the likeliest tokens, [reading, place, top]; ties by lower id."""
        ids, by_id = self._top_ids.sort(dim=0)
        values, order = self._top.gather(0, by_id).sort(dim=0, descending=True, stable=True)
        logprobs = values.double() - self._logz()
        return self._per_row(ids.gather(0, order)), self._per_row(logprobs)

    def tracked_answers(self, top_ids: torch.Tensor, top_logprobs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and ranks of the tracked tokens, [reading, place, tracked].

        A token among the best takes its rank from there.
        """
        tracked = self._tracked
        shape = (*self._shape, tracked.ids.shape[1])
        logprobs = torch.full(shape, torch.nan, dtype=torch.float64, device=top_ids.device)
        ranks = torch.full(shape, -1, dtype=torch.long, device=top_ids.device)
        logz = self._logz().view(self._shape)
        for t, followed in enumerate(tracked.followed):
            if not len(followed):
                continue
            logprobs[:, followed, t] = tracked.logits[t].double() - logz[:, followed]
            ids, values = top_ids[:, followed], top_logprobs[:, followed]
            listed = ids == tracked.ids[followed, t][:, None]
            own = values.masked_fill(~listed, -torch.inf).amax(-1, keepdim=True)
            ahead = (values > own).sum(-1)
            ranks[:, followed, t] = torch.where(listed.any(-1), ahead, tracked.larger[t].round().long())
        return logprobs, ranks

    def _logz(self) -> torch.Tensor:
        return self._most.double() + self._sum.log()

    def _per_row(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers.t().unflatten(0, self._shape)

    def _add(self, logits: torch.Tensor, most: torch.Tensor) -> None:
        """Updates the sums: those for a lower maximum are rescaled to the new one."""
        new = torch.maximum(self._most, most)
        moved = (self._most - new).double()
        carried = moved.exp()
        exponentials, products = self._scratch[:, : len(logits)]
        below = logits.sub_(new)
        torch.exp(below, out=exponentials)
        if self._final is not None:
            final = exponentials.unflatten(1, self._shape)[:, self._final : self._final + 1]
            torch.mul(below.unflatten(1, self._shape), final, out=products.unflatten(1, self._shape))
            theirs = self._sum.view(self._shape)[self._final].expand(self._shape).flatten()
            theirs_carried = carried.view(self._shape)[self._final].expand(self._shape).flatten()
            self._against = (self._against + theirs * moved) * theirs_carried + products.sum(0)
        torch.mul(below, exponentials, out=products)
        self._weighted = (self._weighted + self._sum * moved) * carried + products.sum(0)
        self._sum = self._sum * carried + exponentials.sum(0)
        self._most = new

    def _keep_best(self, logits: torch.Tensor, largest: torch.Tensor, most: torch.Tensor, first: int) -> None:
        """Checks only rows with a new best token, and in them only the groups that can hold one."""
        top = len(self._top)
        rows = (most > self._top[-1]).nonzero()[:, 0]
        if not len(rows):
            return
        groups = largest[:, rows].topk(min(top, len(largest)), dim=0).indices  # [group, row]
        tokens = (groups[:, None] * GROUP + torch.arange(GROUP, device=logits.device)[:, None]).flatten(0, 1)
        found = logits[tokens.clamp(max=len(logits) - 1), rows]
        found = torch.where(tokens < len(logits), found, LOWEST)
        values = torch.cat([self._top[:, rows], found])
        ids = torch.cat([self._top_ids[:, rows], tokens + first])
        best = values.topk(top, dim=0)
        self._top[:, rows] = best.values
        self._top_ids[:, rows] = ids.gather(0, best.indices)


def _largest_by_group(logits: torch.Tensor) -> torch.Tensor:
    """The largest logit of each group of adjacent tokens, [group, row]."""
    whole = len(logits) // GROUP
    parts = []
    if whole:
        parts.append(logits[: whole * GROUP].unflatten(0, (whole, GROUP)).amax(1))
    if len(logits) % GROUP:
        parts.append(logits[whole * GROUP :].amax(0, keepdim=True))
    return torch.cat(parts)
