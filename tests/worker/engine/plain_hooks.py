"""Edits as hooks written out, one forward at a time: what the sweeps are held against."""

import torch


def attach(model, edit):
    block, heads = model.anatomy.blocks[edit.layer], model.anatomy.heads

    def new(x):
        x = x.clone()
        view = x.view(*x.shape[:-1], heads, -1) if edit.point == "z" else x
        start, end = edit.positions or (0, x.shape[1])
        for place in range(start, min(end, x.shape[1])):
            value = 0.0 if edit.value is None else edit.value[min(place - start, len(edit.value) - 1)]
            if edit.point == "z":
                for number, head in enumerate(edit.heads):
                    view[0, place, head] = value if edit.value is None else value[number]
            else:
                view[0, place] = value
        return x

    def before(_m, args, kwargs):
        return (
            ((new(args[0]), *args[1:]), kwargs)
            if args
            else (args, {**kwargs, "hidden_states": new(kwargs["hidden_states"])})
        )

    def after(_m, _a, out):
        return new(out) if isinstance(out, torch.Tensor) else (new(out[0]), *out[1:])

    if edit.point == "resid_pre":
        return block.module.register_forward_pre_hook(before, with_kwargs=True)
    if edit.point == "z":
        return block.output_projection.register_forward_pre_hook(before, with_kwargs=True)
    module = block.attention_write if edit.point == "attn_out" else block.mlp_write
    return module.register_forward_hook(after)
