"""What a table declaration is: columns with type, unit, UCD, nullability and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

#: Row key of every positional table: NESTED HEALPix index at order 29 (HATS convention).
HEALPIX_COLUMN = "_healpix_29"
#: HATS partition columns of every positional table.
PARTITION_COLUMNS = ("Norder", "Dir", "Npix")

SCALAR_TYPES = ("int64", "int32", "float64", "float32", "string", "bool", "timestamp", "binary")


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    name : str
    type : str
        One of `SCALAR_TYPES`, or ``list<T>`` of one of them.
    doc : str
        Meaning, in one sentence.
    unit : str
        Unit in the IVOA/FITS spelling, empty when dimensionless.
    ucd : str
        IVOA UCD1+ word, empty when none fits.
    nullable : bool
        Whether the value may be missing.
    """

    name: str
    type: str
    doc: str
    unit: str = ""
    ucd: str = ""
    nullable: bool = True

    def __post_init__(self) -> None:
        if self.element_type not in SCALAR_TYPES:
            raise ValueError(f"column {self.name}: unknown type {self.type!r}; known are {SCALAR_TYPES}")

    @property
    def is_list(self) -> bool:
        """Whether the column holds a list of scalars."""
        return self.type.startswith("list<")

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers that can be computed with."""
        return self.type in ("int64", "int32", "float64", "float32")

    @property
    def element_type(self) -> str:
        """The scalar type, of the elements when it is a list."""
        return self.type[5:-1] if self.is_list else self.type


@dataclass(frozen=True)
class Table:
    """One table: its grain, key and columns in storage order.

    A positional table starts with `HEALPIX_COLUMN`, holds `ra` and `dec`, and is
    partitioned by `PARTITION_COLUMNS`; any other table is unpartitioned, unless it is
    plain Parquet outside a lake with `hive_partitions`.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    positional: bool = False
    doc: str = field(default="")
    hive_partitions: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len({name.lower() for name in names}) != len(names):
            raise ValueError(
                f"table {self.name}: column names differ only by case or repeat: {sorted(names)}"
            )
        needed = {*self.key, "run_id", *((HEALPIX_COLUMN, "ra", "dec") if self.positional else ())}
        if lacking := needed - set(names):
            raise ValueError(f"table {self.name} lacks the columns {sorted(lacking)}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the stored columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Names of the partition columns (kept in paths, not in the files)."""
        if self.positional:
            return PARTITION_COLUMNS
        return tuple(column.name for column in self.hive_partitions)

    def column(self, name: str) -> Column:
        """Return the column of that name, or raise KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name} has no column {name!r}; it has {list(self.column_names)}")

    def with_columns(self, extra: tuple[Column, ...], name: str | None = None) -> Table:
        """Return this table with further columns before `run_id`, under another name if given."""
        body = tuple(column for column in self.columns if column.name != "run_id")
        return replace(self, name=name or self.name, columns=(*body, *extra, self.column("run_id")))


HEALPIX = Column(
    HEALPIX_COLUMN,
    "int64",
    "HEALPix index of (ra, dec), NESTED scheme, order 29; rows are sorted by it inside a file",
    ucd="pos.healpix",
    nullable=False,
)
RUN_ID = Column("run_id", "string", "Run that wrote the row (see `runs`)", ucd="meta.id", nullable=False)
RA = Column(
    "ra", "float64", "Right ascension, ICRS, in [0, 360)", "deg", "pos.eq.ra;meta.main", nullable=False
)
DEC = Column(
    "dec", "float64", "Declination, ICRS, in [-90, 90]", "deg", "pos.eq.dec;meta.main", nullable=False
)
