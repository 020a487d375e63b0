"""Kernels of the two-dimensional range sums."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snapsim._jit import kernel

SWEEP = 0
"""A stride that says: no prefix sums are kept."""


class BoxArrays(NamedTuple):
    """Prefix sums and sorted cells.

    Attributes
    ----------
    prefix : int32 or int64 array, shape (n_groups + 1, n_columns + 1)
        prefix[g, c] = sum of the cells in rows < g * stride and columns < c.
    start : int64 array, shape (n_rows + 1,)
        First cell of each row.
    column : int32 array, shape (n_cells,)
        Columns of the cells, increasing inside a row.
    running : int64 array, shape (n_cells + 1,)
        Running sum of the cells.
    stride : int64 array, shape (1,)
        Rows a group, or `SWEEP`.
    """

    prefix: npt.NDArray[np.int32] | npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    column: npt.NDArray[np.int32]
    running: npt.NDArray[np.int64]
    stride: npt.NDArray[np.int64]


@kernel(allocates=False)
def first_at_least(column, low, high, bound):
    """Return the first position in [low, high) whose column is at least `bound`."""
    while low < high:
        middle = (low + high) // 2
        if column[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@kernel(allocates=False)
def _row_sums(start, column, running, low, high, early, late):
    total = 0
    for row in range(low, high):
        first = first_at_least(column, start[row], start[row + 1], early)
        last = first_at_least(column, first, start[row + 1], late)
        total += running[last] - running[first]
    return total


@kernel(allocates=False)
def box_sum(prefix, start, column, running, stride, low, high, early, late):
    """Sum the cells in rows [low, high) and columns [early, late)."""
    if low >= high or early >= late:
        return 0
    group_low = (low + stride - 1) // stride
    group_high = high // stride
    if group_low > group_high:
        return _row_sums(start, column, running, low, high, early, late)
    total = (
        np.int64(prefix[group_high, late])
        - np.int64(prefix[group_low, late])
        - np.int64(prefix[group_high, early])
        + np.int64(prefix[group_low, early])
    )
    if stride > 1:
        total += _row_sums(start, column, running, low, group_low * stride, early, late)
        total += _row_sums(start, column, running, group_high * stride, high, early, late)
    return total


@kernel
def box_sums(arrays, low, high, early, late):
    """Sum the cells in many boxes.

    Parameters
    ----------
    arrays : BoxArrays
        The prefix sums.
    low, high : int64 arrays, shape (n_boxes,)
        Rows, half-open.
    early, late : int64 arrays, shape (n_boxes,)
        Columns, half-open.

    Returns
    -------
    int64 array, shape (n_boxes,)
        The sums.
    """
    prefix, start, column, running = arrays.prefix, arrays.start, arrays.column, arrays.running
    stride = arrays.stride[0]
    sums = np.zeros(low.shape[0], dtype=np.int64)
    for i in range(low.shape[0]):
        sums[i] = box_sum(prefix, start, column, running, stride, low[i], high[i], early[i], late[i])
    return sums


@kernel(allocates=False)
def tail_sum(prefix, start, column, running, stride, end, bound):
    """Sum the cells in the rows before `end` and the columns from `bound` on."""
    group = end // stride
    total = running[start[end]] - np.int64(prefix[group, bound])
    for row in range(group * stride, end):
        first = first_at_least(column, start[row], start[row + 1], bound)
        total -= running[first] - running[start[row]]
    return total


@kernel(allocates=False)
def tail_sums(arrays, rows, early, sums):
    """Sum the cells in the first rows and the last columns: one look-up each, where `box_sums` takes four.

    Parameters
    ----------
    arrays : BoxArrays
        The prefix sums.
    rows : int64 array, shape (n_tails,)
        How many rows.
    early : int64 array, shape (n_tails,)
        First column.
    sums : int64 array, shape (n_tails,)
        Filled with the sums.
    """
    prefix, start, column, running = arrays.prefix, arrays.start, arrays.column, arrays.running
    stride = arrays.stride[0]
    for i in range(rows.shape[0]):
        sums[i] = tail_sum(prefix, start, column, running, stride, rows[i], early[i])


@kernel(allocates=False)
def _add(tree, column, count):
    """Add to a Fenwick tree over the columns."""
    position = column + 1
    while position < tree.shape[0]:
        tree[position] += count
        position += position & -position


@kernel(allocates=False)
def _sum_before(tree, column):
    """Return the sum of a Fenwick tree over the columns before `column`."""
    total = 0
    position = column
    while position > 0:
        total += tree[position]
        position -= position & -position
    return total


@kernel(allocates=False)
def sweep_sums(arrays, edge, order, early, late, tree, below):
    """Sum the cells in the rows before each edge and in a range of columns.

    Parameters
    ----------
    arrays : BoxArrays
        The cells; the prefix sums are not used.
    edge : int64 array, shape (n_edges,)
        Rows.
    order : int64 array, shape (n_edges,)
        The edges in increasing order.
    early, late : int64 arrays, shape (n_edges,)
        Columns, half-open.
    tree : int64 array, shape (n_columns + 1,)
        Work space, zero.
    below : int64 array, shape (n_edges,)
        Filled with the sums.
    """
    start, column, running = arrays.start, arrays.column, arrays.running
    row = 0
    for i in range(order.shape[0]):
        one = order[i]
        while row < edge[one]:
            for cell in range(start[row], start[row + 1]):
                _add(tree, column[cell], running[cell + 1] - running[cell])
            row += 1
        below[one] = _sum_before(tree, late[one]) - _sum_before(tree, early[one])
