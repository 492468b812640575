"""What the file of a survey says, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from astrolake.errors import BadArguments

#: Operators of a condition; ``bits_clear`` and ``bits_set`` take a mask.
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "between", "bits_clear", "bits_set")


@dataclass(frozen=True)
class Conversion:
    """How native values become the lake's.

    Parameters
    ----------
    kind : str
        Name of a rule of `astrolake.data_access.surveys.conversions`.
    parameters : mapping
        What the rule needs, such as the softening of a band or the offset of Vega.
    """

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Alias:
    """Another spelling of a native column in files.

    Parameters
    ----------
    name : str
    beside : tuple of str
        Columns without which the name means something else: z is a magnitude beside u, g, r and i only.
    """

    name: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class SurveyColumn:
    """A column of a survey's table.

    Parameters
    ----------
    native : str
        Name in the survey's service and files.
    name : str
        Name in the lake.
    type : str
        Type in the lake, one of `astrolake.schema.model.SCALAR_TYPES`.
    doc, unit, ucd : str
        Of the values in the lake.
    null : tuple
        Native values that mean that there is none, such as -9999.
    values : mapping
        Native values to those of the lake, such as 3 to GALAXY; others become null.
    conversion : Conversion, optional
    default : bool
        Whether a query asks for it unless told otherwise.
    inputs : tuple of str
        Other native columns that the conversion needs.
    aliases : tuple of Alias
        Other spellings of `native` in files.
    element : int, optional
        Place in the native array that holds the values of all bands.
    band : str
        As the survey's file spells it; empty for a column of no band.
    width : int
        Digits of a text that may look like a number, whose leading zeros a reader of text files drops.
    """

    native: str
    name: str
    type: str
    doc: str
    unit: str = ""
    ucd: str = ""
    null: tuple[Any, ...] = ()
    values: Mapping[Any, Any] = field(default_factory=dict)
    conversion: Conversion | None = None
    default: bool = True
    inputs: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    element: int | None = None
    band: str = ""
    width: int = 0


@dataclass(frozen=True)
class Condition:
    """A condition on one column; all conditions of a cut or query must hold."""

    column: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Cut:
    """A named selection, in native columns and values.

    Parameters
    ----------
    name : str
        Such as ``clean``, ``primary`` or ``galaxy``.
    conditions : tuple of Condition
    doc : str
        What it keeps.
    source : str
        Where the survey recommends it.
    """

    name: str
    conditions: tuple[Condition, ...]
    doc: str
    source: str


@dataclass(frozen=True)
class Service:
    """A service on the web.

    Parameters
    ----------
    protocol : str
        Catalogs: tap or skyserver. Images: sdss_frames, panstarrs, legacy_bricks, unwise or sia2.
    url : str
        Where it is asked; ``{release}`` stands for the release.
    requests_per_s : float
        What one client may send.
    connections : int
        Requests at a time.
    options : mapping
        What the protocol needs beside.
    """

    protocol: str
    url: str
    requests_per_s: float = 5.0
    connections: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bulk:
    """A release as Parquet on a public bucket.

    Parameters
    ----------
    uri : str
        Root of the catalog.
    layout : str
        hats, or healpix_k5 (directories healpix_k0=*/healpix_k5=* of IRSA).
    region : str
        Of the bucket.
    """

    uri: str
    layout: str
    region: str = "us-east-1"


@dataclass(frozen=True)
class SurveyTable:
    """A table of a survey.

    Parameters
    ----------
    name : str
        Such as photoobj.
    native : str
        As the service names it, such as PhotoObj or gaiadr3.gaia_source.
    id, ra, dec : str
        Native columns of identifier and position.
    columns : tuple of SurveyColumn
    cuts : mapping of str to Cut
    service : Service, optional
        None: it is there as files only.
    row_limit : int
        Greatest number of rows of one answer.
    rows_per_deg2 : float
        A usual density, from which the first size of a query is chosen.
    magnitude : str
        Stem of the columns that ``r_mag`` means in a filter, such as mag_model.
    bulk : Bulk, optional
    layout_of : tuple of str
        Native columns that tell files of this table from those of others.
    doc : str
        What one row is.
    source : str
        The public page that documents the columns.
    others : mapping of str to tuple of Condition
        Rows that look like this table's but mean something else: the table or release that they belong to,
        and what tells them, in native columns and values.
    """

    name: str
    native: str
    id: str
    ra: str
    dec: str
    columns: tuple[SurveyColumn, ...]
    cuts: Mapping[str, Cut]
    service: Service | None = None
    row_limit: int = 100_000
    rows_per_deg2: float = 10_000.0
    magnitude: str = ""
    bulk: Bulk | None = None
    layout_of: tuple[str, ...] = ()
    doc: str = ""
    source: str = ""
    others: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)

    def select(self, names: Sequence[str] | None = None) -> tuple[SurveyColumn, ...]:
        """Return columns by their names in the lake, identifier and position always among them.

        Parameters
        ----------
        names : sequence of str, optional
            None: the columns that are asked for by default.

        Returns
        -------
        tuple of SurveyColumn
            In the order of the survey's file: source_id, ra, dec, then the others.

        Raises
        ------
        BadArguments
            When the table has no such column; the message lists those it has.
        """
        if names is None:
            return tuple(column for column in self.columns if column.default)
        known = {column.name for column in self.columns}
        if unknown := sorted(set(names) - known):
            raise BadArguments(f"table {self.name} has no columns {unknown}; it has {sorted(known)}")
        wanted = {*names, "source_id", "ra", "dec"}
        return tuple(column for column in self.columns if column.name in wanted)

    def native_names(self, columns: Iterable[SurveyColumn], cuts: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the native columns that some columns and cuts are computed from, each once.

        Raises
        ------
        BadArguments
            When the table has no such cut.
        """
        of_columns = (name for column in columns for name in (column.native, *column.inputs))
        of_cuts = (condition.column for cut in self.select_cuts(cuts) for condition in cut.conditions)
        return tuple(dict.fromkeys((*of_columns, *of_cuts)))

    def select_cuts(self, names: Iterable[str]) -> tuple[Cut, ...]:
        """Return cuts by their names.

        Raises
        ------
        BadArguments
            When the table has no such cut; the message lists those it has.
        """
        wanted = tuple(names)
        if unknown := sorted(set(wanted) - set(self.cuts)):
            raise BadArguments(f"table {self.name} has no cuts {unknown}; it has {sorted(self.cuts)}")
        return tuple(self.cuts[name] for name in wanted)


@dataclass(frozen=True)
class Survey:
    """A survey and a release of it.

    Parameters
    ----------
    name : str
        Lower snake case; the name of its table in the lake unless another is given.
    title, reference, acknowledgement : str
    release : str
    releases : tuple of str
    tables : mapping of str to SurveyTable
        The first is the default.
    imaging : Service, optional
        None: the survey publishes no images.
    bands : tuple of str
        Of its images.
    """

    name: str
    title: str
    reference: str
    release: str
    releases: tuple[str, ...]
    tables: Mapping[str, SurveyTable]
    imaging: Service | None = None
    bands: tuple[str, ...] = ()
    acknowledgement: str = ""

    def table(self, name: str = "") -> SurveyTable:
        """Return a table by its name, the first one where none is given.

        Raises
        ------
        BadArguments
            When the survey has no such table; the message lists those it has.
        """
        name = name or next(iter(self.tables))
        if name not in self.tables:
            raise BadArguments(
                f"survey {self.name} {self.release} has no table {name!r}; it has {sorted(self.tables)}"
            )
        return self.tables[name]
