"""The Benchmark tab of the Gradio page: published results, this project's measurements, and single images."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from sim2street.app.content import benchmark_data, escape, html_tables, result_rows
from sim2street.app.content.benchmark_data import ROOMS
from sim2street.app.demo_page import address
from sim2street.app.demo_page.failures_tab import FailuresTab


def build_benchmark_tab(page: gr.Blocks, failures: FailuresTab) -> gr.Tabs:
    """Lay out the tab within the current context and connect it; returns its rooms, each with its title as id."""
    published, measured_here, images = ROOMS
    with gr.Tabs() as rooms:
        with gr.Tab(published, id=published):
            gr.Markdown(benchmark_data.PUBLISHED_WORDS)
            settings = benchmark_data.SETTINGS
            with gr.Row(elem_classes="controls"):
                setting = gr.Radio(settings, value=settings[0], show_label=False, label="Setting", elem_id="setting")
                every = gr.Checkbox(False, label="All published rows", elem_id="every")
            rows = gr.HTML(elem_id="published")
            gr.on(
                [page.load, setting.change, every.change],
                _published,
                [setting, every],
                rows,
                trigger_mode="always_last",
                api_visibility="private",
            )
        with gr.Tab(measured_here, id=measured_here):
            gr.Markdown(benchmark_data.MEASURED_WORDS)
            with gr.Row(elem_classes="controls"):
                sweep = gr.Dropdown([], show_label=False, label="Pair", elem_id="sweep")
            problems, measured = gr.HTML(), gr.HTML(elem_id="measured")
            page.load(_sweeps, None, [sweep, problems], api_visibility="private")
            sweep.change(_measured, sweep, measured, api_visibility="private")
        with gr.Tab(images, id=images):
            failures.build(page)
    return rooms


def keep_address(page: gr.Blocks, tabs: gr.Tabs, rooms: gr.Tabs, failures: FailuresTab) -> None:
    """Open what the address asks for, and let the address follow what is chosen in Benchmark.

    Args:
        page: the whole page.
        tabs: its tabs.
        rooms: those of Benchmark.
        failures: the room of single images.
    """
    shown = [_shown(tabs), _shown(rooms)]
    page.load(None, None, [tabs, rooms], js=address.ROOM)
    named = [*shown, failures.set, failures.reader, failures.against, failures.titled]
    gr.on([each.change for each in named], None, named, js=address.NAME_ROOM)


def _shown(tabs: gr.Tabs) -> gr.Textbox:
    """The title of the tab that is open, followed in the browser: Gradio's tabs have no value."""
    every = [tab for tab in tabs.children if isinstance(tab, gr.Tab)]
    title = gr.Textbox(every[0].label, visible="hidden")
    for tab in every:
        tab.select(None, None, title, js=f"() => {json.dumps(tab.label)}")
    return title


def _published(setting: str, every: bool) -> str:
    results = [result for result in benchmark_data.published_results() if result.setting == setting]
    quoted = benchmark_data.comparison(results)
    if quoted and not every:
        return result_rows.published_rows(quoted)
    return html_tables.table(benchmark_data.published_table(results, synthia=setting.startswith("SYNTHIA")), {})


def _sweeps() -> tuple[Any, str]:
    """The sweeps to choose from, and why others cannot be shown."""
    tables = benchmark_data.sweep_tables()
    titles = [table.title for table in tables if table.error is None]
    broken = "".join(f'<div class="problem">{escape.html(table.error)}</div>' for table in tables if table.error)
    return gr.update(choices=titles, value=titles[0] if titles else None), broken


def _measured(title: str | None) -> str:
    table = next((table for table in benchmark_data.sweep_tables() if table.title == title), None)
    if table is None:
        return ""
    words = f'<p class="note">{escape.html(table.words)}</p>'
    if not table.groups():
        return f"{words}<p>This sweep has no results yet.</p>"
    rows, differences = result_rows.measured_rows(table), result_rows.class_differences(table)
    if not differences:
        return words + rows
    heading = f'<h3>Class by class</h3><p class="note">{benchmark_data.DIFFERENCES_WORDS}</p>'
    return words + rows + heading + differences
