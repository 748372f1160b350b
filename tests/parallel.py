"""`History` of the named strategies, trained on two devices; JSON on the last line. Not a test.

Devices are made before the backend starts, hence a process of its own.
"""

import json
import os
import sys

BACKEND = os.environ["KERAS_BACKEND"]
if BACKEND == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
else:
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )

import contextlib  # noqa: E402

import keras  # noqa: E402
from test_features import PLAIN, model_of  # noqa: E402
from training import fit  # noqa: E402

import kerasloss  # noqa: E402

if BACKEND == "jax":
    distribution = keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
    keras.distribution.set_distribution(distribution)
    devices, scope = len(distribution.device_mesh.devices), contextlib.nullcontext
else:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    devices, scope = strategy.num_replicas_in_sync, strategy.scope

found = {}
for name in sys.argv[1:]:
    with scope():
        model = model_of(name)
    found[name] = fit(model, kerasloss.DynamicWeighting(), **PLAIN) | {"devices": devices}
print(json.dumps(found))
