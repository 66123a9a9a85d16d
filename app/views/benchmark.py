"""Benchmark: what papers report, what was measured here, and the images behind figures."""

from __future__ import annotations

import streamlit as st

from sim2street.app.content import benchmark_data, charts, escape, figures, result_rows
from sim2street.app.content.benchmark_data import PublishedResult, SweepTable
from sim2street.app.content.method_display import display_of_title
from sim2street.app.content.names import reports_by_title
from sim2street.app.views import session
from sim2street.app.views.choices import say_what_is_gone
from sim2street.app.views.failures import show_failures
from sim2street.models.labels import CITYSCAPES19

FORMER_NAME = "Picture by picture"  # of the third room
SPREAD = 6  # methods in the chart per class; more bars than these cannot be told apart


def main() -> None:
    """One of the three, as the person or the address chooses."""
    st.markdown("# Benchmark")
    rooms = dict(zip(benchmark_data.ROOMS, (show_published, show_measured, show_failures), strict=True))
    if st.query_params.get("show") == FORMER_NAME:  # in links that were shared
        del st.query_params["show"]
        st.session_state.show = benchmark_data.ROOMS[2]
    say_what_is_gone("show", rooms)
    chosen = st.segmented_control(
        "Show",
        list(rooms),
        default=benchmark_data.ROOMS[0],
        required=True,
        key="show",
        bind="query-params",
        label_visibility="collapsed",
    )
    rooms[chosen]()


def show_published() -> None:
    """Rows of papers, what their sources really say, and their classes."""
    st.markdown(benchmark_data.PUBLISHED_WORDS)
    results = benchmark_data.published_results()
    setting = st.segmented_control(
        "Setting", benchmark_data.SETTINGS, default=benchmark_data.SETTINGS[0], required=True, key="setting"
    )
    every = [result for result in results if result.setting == setting]
    quoted = benchmark_data.comparison(every)
    all_rows = not quoted or st.toggle(
        f"All {len(every)} published rows", key="all_rows", help="Else the rows that everybody quotes."
    )
    if all_rows:
        show_table(every, synthia=setting.startswith("SYNTHIA"))
    else:
        st.html(result_rows.published_rows(quoted))
    show_reproduced(setting)
    show_classes(every if all_rows else quoted)


def show_table(results: list[PublishedResult], *, synthia: bool) -> None:
    """One line per result, to be sorted and searched."""
    rows = benchmark_data.published_table(results, synthia=synthia)
    bar = st.column_config.ProgressColumn
    text = st.column_config.TextColumn
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        height=560 if len(rows) > 14 else "content",
        column_config={
            "mIoU": bar("16 classes, %" if synthia else "mIoU, %", format="%.1f", min_value=0, max_value=100),
            "13 classes": bar("13 classes, %", format="%.1f", min_value=0, max_value=100),
            "Source": text(width="large"),
            "What it says": text(width="large"),
        },
    )


def show_reproduced(setting: str) -> None:
    """Checkpoints on this machine that were scored on the very same images."""
    measured = benchmark_data.measured_on_cityscapes(session.checkpoints(), setting)
    if not measured:
        st.caption(
            "None of these was measured here: that takes Cityscapes and the authors' weights. With both,"
            " `sim2street import` and `sim2street evaluate --dataset cityscapes` show how they fare on this machine."
        )
        return
    st.markdown("**The same, measured on this machine**")
    number = st.column_config.NumberColumn
    st.dataframe(
        [
            {"Checkpoint": row["title"], "mIoU here": row["miou"], "As its authors report": row["reported"]}
            for row in measured
        ],
        hide_index=True,
        placeholder="–",
        column_config={"mIoU here": number(format="%.1f"), "As its authors report": number(format="%.1f")},
    )


def show_classes(results: list[PublishedResult]) -> None:
    """Bars per class of the rows whose sources give them."""
    st.markdown("## Per class")
    known: dict[str, PublishedResult] = {}
    for result in results:
        if result.per_class:
            miou = result.miou if result.miou is not None else result.miou16 or result.miou13
            known.setdefault(f"{result.method} · {result.backbone.partition(' (')[0]} · {miou}", result)
    without = sorted({result.method for result in results if not result.per_class})
    if not known:
        st.caption("None of the sources gives these rows per class.")
        return
    chosen = st.multiselect(
        "Methods", list(known), default=list(known)[:4], max_selections=SPREAD, key=f"classes_{len(known)}"
    )
    if chosen:
        values = {title: benchmark_data.class_row(known[title]) for title in chosen}
        colours = {title: display_of_title(known[title].method).colour for title in chosen}
        figure = charts.class_bars(
            CITYSCAPES19.names, values, colours, unit="IoU, %", order=charts.classes_in_use(values)
        )
        st.plotly_chart(figure, config=charts.CONFIG, key="classes")
    if without:
        st.caption(f"Their sources give no figures per class: {escape.markdown(', '.join(without))}.")


def show_measured() -> None:
    """Tables of sweeps, and the figures that come with each checkpoint."""
    st.markdown(benchmark_data.MEASURED_WORDS)
    tables = benchmark_data.sweep_tables()
    for table in tables:
        if table.error is not None:
            st.warning(escape.markdown(table.error), icon=":material/warning:")
    show_sweep([table for table in tables if table.error is None])
    usable = [entry.checkpoint for entry in session.checkpoints() if entry.checkpoint is not None]
    titles = figures.unique_titles(usable)
    rows = [
        {"Checkpoint": titles[checkpoint.name]}
        | {
            title: None if report.get("miou") is None else 100 * report["miou"]
            for title, report in reports_by_title(checkpoint.metrics).items()
        }
        for checkpoint in usable
        if checkpoint.metrics
    ]
    if not rows:
        st.caption("No checkpoint on this machine has been scored yet; `sim2street evaluate` does.")
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    st.markdown("**Checkpoints, mIoU in percent**")
    number = st.column_config.NumberColumn
    st.dataframe(
        [{name: row.get(name) for name in columns} for row in rows],
        hide_index=True,
        placeholder="–",
        height="content",
        column_config={name: number(format="%.1f") for name in columns[1:]}
        | {"Checkpoint": st.column_config.TextColumn(pinned=True)},
    )


def show_sweep(tables: list[SweepTable]) -> None:
    """The table that the person picks, as bars, and all its columns on request."""
    if not tables:
        return
    place = st.pills(
        "Pair",
        range(len(tables)),
        format_func=lambda i: escape.markdown(tables[i].title),
        default=0,
        required=True,
        key="pair",
        wrap=True,
    )
    table = tables[place]
    st.caption(escape.markdown(table.words))
    if table.groups():
        st.html(result_rows.measured_rows(table))
        differences = result_rows.class_differences(table)
        if differences:
            st.markdown("## Class by class")
            st.caption(benchmark_data.DIFFERENCES_WORDS)
            st.html(differences)
    else:
        st.info("No row of this sweep has a figure yet; `sim2street sweep` goes on with it.")
    with st.expander("All figures"):
        st.dataframe(table.cells(), hide_index=True, height="content")


main()
