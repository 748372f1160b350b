"""Float64 NumPy reference of every loss, written from the published formulas and the loss contract.

It shares nothing with the package: plain loops over images and classes, no masks passed around, no
clever sums. One function a loss, under the name of the loss's function twin:

    dice(y_true, y_pred, sample_weight=None, **options) -> (batch,)

and `reduce`, which turns these values into what the loss object returns. A new loss needs a
function in the file of its family; the contract test says so when it is missing.
"""

from oracle.boundary import *
from oracle.core import reduce as reduce
from oracle.distribution import *
from oracle.region import *
from oracle.topology import *
