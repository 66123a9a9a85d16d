"""Theme of the Gradio page, with the colours, corners, fonts and sizes of the Streamlit app and no external resources."""

from __future__ import annotations

from typing import Final

import gradio as gr

from sim2street.app.content.html_tables import STYLE

FONT: Final = "Source Sans Pro"
"""Also Streamlit's font. Gradio includes all its glyphs in two weights only."""
FALLBACK: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
MONO: Final = ("ui-monospace", "Menlo", "Consolas", "Liberation Mono", "monospace")

# Theme variable: light, dark. The values are those of app/.streamlit/config.toml.
COLOURS: Final = {
    "body_background_fill": ("#ffffff", "#0f1318"),
    "background_fill_primary": ("#ffffff", "#0f1318"),
    "background_fill_secondary": ("#f2f4f6", "#1a2028"),
    "block_background_fill": ("transparent", "transparent"),
    "panel_background_fill": ("transparent", "transparent"),
    "input_background_fill": ("#f2f4f6", "#1a2028"),
    "body_text_color": ("#171c22", "#e7ebef"),
    "body_text_color_subdued": ("#5c6670", "#9aa5b0"),
    "block_label_text_color": ("#171c22", "#e7ebef"),
    "block_title_text_color": ("#171c22", "#e7ebef"),
    "block_info_text_color": ("#5c6670", "#9aa5b0"),
    "border_color_primary": ("#dfe3e8", "#2b333c"),
    "border_color_accent": ("#0a6b67", "#43bdb4"),
    "input_border_color": ("#dfe3e8", "#2b333c"),
    "input_border_color_focus": ("#0a6b67", "#43bdb4"),
    "color_accent_soft": ("#e9f4f3", "#16302f"),
    "link_text_color": ("#0a6b67", "#5fd0c8"),
    "link_text_color_hover": ("#0a6b67", "#5fd0c8"),
    "button_secondary_background_fill": ("#ffffff", "#0f1318"),
    "button_secondary_background_fill_hover": ("#f2f4f6", "#1a2028"),
    "button_secondary_text_color": ("#171c22", "#e7ebef"),
    "button_secondary_border_color": ("#dfe3e8", "#2b333c"),
    "button_primary_background_fill": ("#0a6b67", "#0a6b67"),
    "button_primary_background_fill_hover": ("#085450", "#085450"),
    "button_primary_border_color": ("#0a6b67", "#0a6b67"),
    "button_primary_border_color_hover": ("#085450", "#085450"),
    "checkbox_background_color": ("#ffffff", "#0f1318"),
    "checkbox_background_color_selected": ("#0a6b67", "#43bdb4"),
    "checkbox_border_color": ("#c3cad1", "#4a5560"),
    "checkbox_border_color_selected": ("#0a6b67", "#43bdb4"),
    "checkbox_label_background_fill": ("#ffffff", "#0f1318"),
    "checkbox_label_background_fill_hover": ("#f2f4f6", "#1a2028"),
    "checkbox_label_background_fill_selected": ("#e9f4f3", "#16302f"),
    "checkbox_label_border_color": ("#dfe3e8", "#2b333c"),
    "checkbox_label_border_color_selected": ("#0a6b67", "#43bdb4"),
    "checkbox_label_text_color": ("#171c22", "#e7ebef"),
    "checkbox_label_text_color_selected": ("#0a6b67", "#5fd0c8"),
    "loader_color": ("#0a6b67", "#43bdb4"),
}

CSS: Final = (
    """
.dark { --color-accent: #43bdb4; } /* the one colour for which Gradio's themes have no dark variant */
.gradio-container { max-width: none !important; padding: 0 !important; font-variant-numeric: tabular-nums; }
.gradio-container > .main { padding: 10px clamp(14px, 3vw, 48px) 28px !important; margin: 0 auto !important; max-width: 1600px !important; }
.block.auto-margin { margin-left: 0 !important; margin-right: 0 !important; }
.form { background: none !important; border: 0 !important; box-shadow: none !important; overflow: visible !important; }
.block { overflow: visible !important; }
#head header { display: flex; gap: 14px; align-items: center; }
#head img { width: 40px; height: 40px; flex: none; margin: 0; }
#head h1 { font-size: 1.45rem; font-weight: 650; margin: 0; line-height: 1.25; }
#head p { margin: 3px 0 0; color: var(--body-text-color-subdued); line-height: 1.45; }
.tabitem > .column { gap: 8px; }
#choices { align-items: center; gap: 8px; flex-wrap: wrap; }
.tabs > .tabitem { padding-top: 8px; }
#choices > * { flex: 0 0 auto !important; width: auto !important; min-width: 0 !important; }
#choices fieldset .wrap { gap: 6px; flex-wrap: wrap; }
#choices label { border: 1px solid var(--border-color-primary); border-radius: 999px; box-shadow: none; }
#choices label:has(input:checked) { border-color: var(--color-accent); }
#choices > #status { flex: 1 1 180px !important; color: var(--body-text-color-subdued); font-size: 13.5px; text-align: right; }
#choices > :is(#stop, #go_on) { padding: 2px 12px; }
#choices:not(:has(.busy)) #stop, #choices:not(:has(.unfinished)) #go_on, #drop { display: none; }
/* A button that opens a sheet over the page, so that the picture stays where it is. */
.sheet { position: relative; border: 1px solid var(--border-color-primary) !important; border-radius: 8px !important; }
.sheet > button { align-items: center; padding: 6px 12px; gap: 8px; font-size: 14.5px; white-space: nowrap; }
.sheet > button .icon { transform: none !important; font-size: 10px; }
.sheet > button.open { margin: 0 !important; } /* or the page below would move */
.sheet > :not(button) { position: absolute; z-index: 20; top: calc(100% + 6px); left: 0; width: min(460px, calc(100vw - 28px)); padding: 14px; border: 1px solid var(--border-color-primary); border-radius: 10px; background: var(--body-background-fill); box-shadow: 0 10px 30px rgb(0 0 0 / .18); }
/* Without a photo there is nothing to see, not even the street that was there before; numbers wait for the last method. */
.tabitem:has(#own):not(:has(#film)) :is(#viewer, #numbers, #adapt), #numbers:not(:has(.js-plotly-plot)) { display: none; }
.tabitem:has(#status .busy) #numbers { opacity: .4; }
#streets { align-items: center; gap: 8px 14px; flex-wrap: nowrap; }
#streets > #styles { flex: 1 1 0; min-width: 0 !important; }
#streets > .form { flex: 0 0 84px !important; min-width: 0 !important; max-width: 84px; }
#street { min-width: 0 !important; }
#another { flex: 0 0 auto; min-width: 0 !important; }
#photo, #own .block { min-width: 0; }
#own > .row { align-items: end; }
#own > .row > * { flex: 1 1 220px; min-width: 0 !important; }
#own > .row > :is(.sheet, .sm) { flex: 0 0 auto !important; width: auto !important; }
#own .sheet > :not(button) { left: auto; right: 0; }
#own [data-testid="block-label"] { position: static; border: 0; box-shadow: none; background: none; padding: 0 0 6px; font-size: var(--block-title-text-size); }
#own [data-testid="block-label"] > span { display: none; }
#own .row button.upload-container { border: 1px dashed var(--border-color-primary) !important; border-radius: 8px; background: var(--background-fill-secondary); }
#own .sheet .primary { border-radius: 8px; }
/* With photos, the filmstrip takes the row and the uploader shrinks beside it. */
#own > .row:has(#film) > #film { flex: 1 1 0; } #own > .row:has(#film) { align-items: center; }
#own > .row:has(#film) > #photo { flex: 0 0 150px; } #own:has(#film) #photo [data-testid="block-label"] { display: none; }
#own:has(#film) #photo button { height: 56px !important; } #own:has(#film) :is(#photo .icon-wrap, #upload_note p:last-child) { display: none; }
/* Photos to try, until there are some; then only the button that brings the others. */
#offer { align-items: center; gap: 8px 14px; padding: 8px 14px; border: 1px solid var(--border-color-primary); border-radius: 8px; }
#own > #offer > #ask { flex: 0 0 auto; min-height: 34px; padding: 4px 12px; }
#own:has(#film) { flex-direction: row; flex-wrap: wrap; align-items: center; gap: 10px; } #own:has(#film) > * { flex: 1 1 100%; }
#own:has(#film) > #offer { order: 1; flex: 0 0 auto; width: auto; padding: 0; border: 0; } #own:has(#film) > #adapt { order: 1; flex: 1 1 0; width: auto; }
#own:has(#film) > :is(#offer, #adapt) { align-self: flex-start; }
#own:has(#film) > #offer > :not(#ask), #own > .row:not(:has(*)), #own > #offer:not(:has(#ask)) { display: none; }
@media (max-width: 700px) { #own > .row:has(#film) > #film { flex: 1 1 100%; } }
#own #adapt { align-items: center; gap: 10px; } #own #adapt > * { flex: 0 0 auto; width: auto !important; min-width: 0 !important; }
#own #adapt > #adapt_status { flex: 1 1 260px !important; font-size: 14px; } #own #adapt .sheet > :not(button) { left: 0; right: auto; }
/* Gradio's words for a drop zone are those of any file. */
#own button .wrap { min-height: 0; padding: 8px; font-size: 0; } #own button .or { display: none; }
#own button .wrap::after { content: "Choose a label image"; font-size: 14px; } #own #photo button .wrap::after { content: "Choose photos"; }
#own:has(#film) #photo button .wrap::after { content: "More photos"; }
#own .icon-wrap { width: 22px; margin-bottom: 2px; }
.busy::before { content: ""; display: inline-block; width: 11px; height: 11px; margin-right: 8px; vertical-align: -1px; color: var(--color-accent); border: 2px solid; border-right-color: transparent; border-radius: 50%; animation: turn .8s linear infinite; }
@keyframes turn { to { transform: rotate(360deg); } }
/* What a finger presses. */
@media (pointer: coarse) {
  .sheet > button, button.lg, #stop, #go_on, #own > #offer > #ask, fieldset label, label.checkbox-container, .folded summary { min-height: 40px; }
  .tab-wrapper { height: 48px !important; } .tab-container:not(.visually-hidden), .tab-container:not(.visually-hidden) > button { height: 40px !important; }
  .method summary { padding-block: 10px; }
}
@media (prefers-reduced-motion: reduce) { .busy::before { animation: none; } }
#details > * { flex: 1 1 0 !important; min-width: 0 !important; } .modebar { display: none !important; }
:is(#chart, .chart) svg text { fill: var(--body-text-color) !important; font-family: var(--font) !important; }
/* Controls as wide as what they say, and space between those that Gradio joins to one form. */
.controls .form { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 20px !important; }
.controls .form > * { flex: 0 1 auto !important; width: auto !important; min-width: 0 !important; max-width: 100%; }
.controls .form > #sweep { flex: 0 1 340px !important; }
:is(#analysis, .choosers) .form { gap: 10px 14px !important; } :is(#analysis, .choosers) .form > * { min-width: 150px !important; }
#losses { max-width: 1120px; } #losses .katex-display { text-align: left; } #losses .katex-display > .katex { text-align: inherit; }
.secondary-wrap input { padding-right: 26px !important; text-overflow: ellipsis; } /* long choices end before the arrow */
.begin > button { flex: 0 0 auto; width: auto; min-width: 0; }
#downloads, .downloads { gap: 10px; } :is(#downloads, .downloads) button { flex: 0 0 auto; min-width: 0 !important; }
/* Nothing to see in a set until its first image has been predicted. */
#failures_said:not(:has(p)) ~ :is(#errors, #by_class, #cards) { display: none; }
footer > .divider:last-child { display: none; }
#promise { border-top: 1px solid var(--border-color-primary); padding-top: 10px; }
.note { color: var(--body-text-color-subdued); font-size: 13.5px; line-height: 1.5; }
.note p { margin: 0 0 5px; }
:is(p, td) a { padding: 0 !important; } /* links are words of a sentence */
.problem { border-left: 3px solid #d1495b; padding: 6px 12px; margin: 4px 0; background: var(--background-fill-secondary); border-radius: 0 8px 8px 0; }
.card { border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 14px 18px; margin: 0 0 12px; }
@media (max-width: 720px) {
  .tab-container button { padding-inline: 5px !important; font-size: 13px !important; } /* all rooms beside one another */
  #head img { width: 30px; height: 30px; } #head h1 { font-size: 1.02rem; } #head p { display: none; }
  #choices > #status { flex-basis: 100% !important; text-align: left; }
  /* What is over need not be said above the picture. One :has for each: Gradio prefixes what follows a comma, which cannot be inside. */
  #choices > #status:not(:has(.busy)):not(:has(.unfinished)):not(:has(.problem)) { display: none; }
  .sheet, #own:has(#film) > #adapt { position: static; } .sheet > :not(button) { top: auto; left: 0; margin-top: 6px; }
  #streets > .form { display: none; }
  #details { flex-direction: column; }
  :is(#analysis, #gap_choice) .form > * { min-width: 100% !important; } /* their choices differ in their ends */
}
"""
    + STYLE
)


def theme() -> gr.themes.Base:
    """Gradio's base theme with this project's colours."""
    pairs = COLOURS.items()
    values = {name: light for name, (light, _) in pairs} | {f"{name}_dark": dark for name, (_, dark) in pairs}
    font = (gr.themes.LocalFont(FONT, weights=(400, 700)), *FALLBACK)
    made = gr.themes.Base(
        primary_hue="teal", neutral_hue="slate", radius_size="md", text_size="md", font=font, font_mono=MONO
    )
    return made.set(
        **values,
        color_accent="#0a6b67",
        block_border_width="0px",
        block_padding="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        form_gap_width="0px",
        layout_gap="14px",
        checkbox_label_padding="5px 12px",
        checkbox_label_shadow="none",
        input_shadow="none",
        button_secondary_shadow="none",
        button_border_width="1px",
        button_large_padding="7px 16px",
        button_large_text_size="14.5px",
        button_large_text_weight="600",
        button_small_text_weight="600",
    )
