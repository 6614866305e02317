"""A small lens as it travels: two layers, three positions, texts that would like to be markup."""

from typing import Any


def decoded(stream: str, layers: list[int]) -> dict[str, Any]:
    return {
        "stream": stream,
        "layers": layers,
        "top_ids": [[[1, 2], [2, 3], [layer + 3, 1]] for layer in layers],
        "top_probabilities": [[[0.5, 0.25], [0.75, 0.125], [0.9, 0.05]] for _ in layers],
        "entropy": [[1.0, 0.5, 0.25] for _ in layers],
        "divergence": [[0.4, 0.3, 0.0] for _ in layers],
        "agreement": [0.5 for _ in layers],
        "first_layer": [None, layers[0], layers[-1]],
        "settled_layer": [None, layers[0], layers[-1]],
    }


def followed(role: str, positions: list[int]) -> dict[str, Any]:
    streams = [
        {
            "logprobs": [[-7.0 + layer] * len(positions) for layer in range(count)],
            "probabilities": [[0.001] * len(positions) for _ in range(count)],
            "ranks": [[1234 - layer] * len(positions) for layer in range(count)],
        }
        for count in (1, 2, 2)
    ]
    return {"token_id": 4, "text": "<b>Mary", "role": role, "positions": positions, "streams": streams}


LENS: dict[str, Any] = {
    "kind": "logit_lens",
    "prompt": "a <script> b",
    "target": "<b>Mary",
    "positions": {
        "index": [0, 1, 2],
        "token_id": [7, 8, 9],
        "text": ["a", "<script>", "[red]b\n"],
        "special": [False, False, False],
        "template": [False, False, False],
        "in_target": [False, False, False],
    },
    "streams": [decoded("resid_pre", [0]), decoded("attn_out", [0, 1]), decoded("resid_post", [0, 1])],
    "tracked": [followed("target", [2]), followed("given", [0, 1, 2])],
    "tokens": {"1": "<i>one", "2": "[bold]two", "3": "th\x1b[31mree", "4": "<b>Mary"},
    "layer_count": 2,
    "top": 2,
}
