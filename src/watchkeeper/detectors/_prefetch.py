"""A hint to the processor: these rows of the state are needed soon.

The samples of one entry may belong to series far apart in a state of a gigabyte. Each of their
rows would be waited for, one after the other; asked for some samples ahead, they come together.
A hint changes no result.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

AHEAD = 16  # samples: rather more than the time that memory takes
TO_WRITE, KEEP_CLOSE, DATA = 1, 3, 1  # the operands of llvm.prefetch


def _prefetch(_typing: Any, arrays: Any, row: Any, column: Any) -> Any:
    """Ask for the cache line of one element of an array, or of each array of a tuple.

    :param arrays: their first axis is the series. :param row: the series, unsigned.
    :param column: within the row, where an array has such an axis; not negative.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        single = not isinstance(arrays, types.BaseTuple)
        kinds = [arrays] if single else list(arrays)
        values = [given[0]] if single else cgutils.unpack_tuple(builder, given[0], len(kinds))
        at = [
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(given[1:], signature.args[1:], strict=True)
        ]
        for kind, value in zip(kinds, values, strict=True):
            array = make_array(kind)(context, builder, value)
            place = cgutils.get_item_pointer(context, builder, kind, array, at[: kind.ndim])
            _hint(builder, builder.bitcast(place, cgutils.voidptr_t))
        return context.get_dummy_value()

    return types.void(arrays, row, column), generate


def _hint(builder: Any, place: Any) -> None:
    number = ir.IntType(32)
    operands = [place.type, number, number, number]
    function = builder.module.declare_intrinsic(
        "llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), operands)
    )
    builder.call(function, [place, *(number(x) for x in (TO_WRITE, KEEP_CLOSE, DATA))])


prefetch: Any = intrinsic(_prefetch)
