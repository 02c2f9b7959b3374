#!/usr/bin/env python3
"""Writes the .parquet files of this folder: python3 make_parquet.py FOLDER; needs pyarrow."""
import datetime
import decimal
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

out = pathlib.Path(sys.argv[1])

# The shape of DAPO-Math-17k, each row twice, in two row groups.
row = lambda text, answer, index: {
    "data_source": "math_dapo",
    "prompt": [{"content": text, "role": "user"}],
    "ability": "MATH",
    "reward_model": {"ground_truth": answer, "style": "rule"},
    "extra_info": {"index": index},
}
rows = [row("Find 17+17.", "34", "row-1"), row("Find 1+1.", "2", "row-2")]
pq.write_table(pa.Table.from_pylist(rows * 2), out / "dapo.parquet", row_group_size=2, compression="snappy")

# Every type that a column may have.
table = pa.table(
    {
        "problem": pa.array(["p0", "p1"], pa.large_string()),
        "answer": pa.array([18.0, 0.5], pa.float64()),
        "float32": pa.array([0.1, None], pa.float32()),
        "int8": pa.array([-3, 4], pa.int8()),
        "uint64": pa.array([2**64 - 1, 0], pa.uint64()),
        "flag": pa.array([True, False]),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "nums": pa.array([[44, 19, 35], []], pa.list_(pa.int64())),
        "fixed": pa.array([[1, 2], [3, 4]], pa.list_(pa.int16(), 2)),
        "nested": pa.array([{"a": {"b": [{"c": "deep"}]}}, None]),
        "map": pa.array([[("x", 1)], []], pa.map_(pa.string(), pa.int64())),
        "decimal": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(5, 2)),
        "date": pa.array([datetime.date(2024, 2, 29), None]),
        "bytes": pa.array([b"text", b""], pa.binary()),
        "null": pa.nulls(2),
    }
)
pq.write_table(table, out / "types.parquet", compression="gzip")

# What no JSON can hold, in the second row.
bad = pa.table({"problem": ["p0", "p1"], "answer": ["1", "2"], "x": pa.array([1.0, float("nan")])})
pq.write_table(bad, out / "nan.parquet")
bad = pa.table({"problem": ["p0", "p1"], "answer": ["1", "2"], "x": pa.array([b"a", b"\xff"], pa.binary())})
pq.write_table(bad, out / "bytes.parquet")

# 64 MiB of one letter in a few hundred bytes.
bomb = pa.table({"problem": pa.array(["x" * (1 << 20)] * 64)})
pq.write_table(bomb, out / "bomb.parquet", compression="zstd", write_statistics=False)
