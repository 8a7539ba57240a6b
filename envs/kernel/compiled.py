"""How the kernel's functions are compiled.

None of them counts references (`_nrt=False`): a state is a tuple of dozens of arrays, and counting them at every call
would cost more than the events. It also means that nothing can be allocated in a step. Only entries can be called from Python:
the code that unpacks a state's arrays takes longer to compile than most functions.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.cpython.unsafe import numbers

njit: Any = numba.njit
trailing_zeros: Any = numbers.trailing_zeros
inlined = njit(cache=True, inline="always", _nrt=False)
internal = njit(cache=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
entry = njit(cache=True, _nrt=False, no_cfunc_wrapper=True)
