"""Two processes of `DistributedDataParallel`, as docs/training_loops.md has it. Not a test.

Each leaves a file with its weights before and after the broadcast of every epoch.
"""

import faulthandler
import json
import os
import sys

import torch
import torch.distributed

os.environ["KERAS_BACKEND"] = "torch"


def work(rank, folder):
    """One of the processes."""
    faulthandler.dump_traceback_later(90, exit=True)
    import keras
    from training import X, Y, layers, terms

    import kerasloss

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    weighting = kerasloss.weighting.SoftAdapt(beta=50.0)
    loss = kerasloss.Compound(terms(), weighting=weighting)
    state = loss.state
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers()])
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), 1.0)
    x, y = (torch.tensor(values[4 * rank : 4 * rank + 4]) for values in (X, Y))
    seen = []
    for _ in range(4):
        state.reset_state()
        optimizer.zero_grad()
        loss(y, parallel(x)).backward()
        optimizer.step()
        before = state.weights_now.value.tolist()
        for variable in state.variables:
            torch.distributed.broadcast(variable.value, src=0)
        seen.append([before, state.weights_now.value.tolist()])
    first = next(parallel.parameters()).detach().flatten()[:3].tolist()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump({"weights": seen, "parameters": first}, file)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.spawn(work, (sys.argv[1],), nprocs=2)
