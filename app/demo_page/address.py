"""The address of the Gradio page, in the browser: what it asks Compare and Benchmark for, and how it follows what is chosen."""

from __future__ import annotations

import json
from typing import Final

from sim2street.app.content.benchmark_data import ROOMS
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE
from sim2street.app.content.gallery import OWN, RENDERED
from sim2street.app.content.streets import STREETS
from sim2street.training.datasets.street_scenes import STYLES

BENCHMARK: Final = "Benchmark"
"""Title and id of its tab."""

# What the address asks for, by the same parameters as in the Streamlit app; the view is the viewer's part. The page writes the
# address, so it is read once: what it asks for may be known only when the server has answered.
ASKED: Final = f"""
(offers) => {{
  const named = window.asked ??= new URLSearchParams(location.search), gone = [];
  const known = (name, here) => named.getAll(name).filter(Boolean).flatMap((each) => {{
    const found = here(each);
    if (found === undefined) gone.push(each);
    return found === undefined ? [] : [found];
  }});
  known("photo", (each) => ({json.dumps([RENDERED, OWN])}.includes(each) ? each : undefined)); // the app has data sets, too
  const [style] = known("style", (each) => ({json.dumps(list(STYLES))}.includes(each) ? each : undefined));
  const [street] = known("street", (each) => (/^\\d{{1,9}}$/.test(each) && +each < {STREETS} ? +each : undefined));
  known("show", (each) => ({json.dumps(ROOMS)}.includes(each) ? each : undefined)); // `ROOM` opens it
  const methods = known("methods", (each) => offers.choices.find(([title]) => title === each)?.[1]);
  return {{ style, street, methods: methods.length ? methods : undefined, gone }};
}}
"""
# The first comparison does not wait until the controls show what the address asks for.
BEGIN: Final = f"""
(source, style, street, methods, averages, view, offers) => {{
  const asked = ({ASKED})(offers);
  return [source, asked.style ?? style, asked.street ?? street, asked.methods ?? methods, averages, view, offers];
}}
"""
# The controls show what the address asks for.
NAMED: Final = f"""
(offers) => {{
  const {{ style, street, methods }} = ({ASKED})(offers);
  const same = {{ __type__: "update" }};
  const chosen = methods && {{ {json.dumps(RENDERED)}: methods }};
  return [style ?? same, street ?? same, methods ?? same, chosen ?? same];
}}
"""
# A note on what the address asks for and the page does not have.
GONE: Final = f"""
(offers) => {{
  const {{ gone }} = ({ASKED})(offers);
  const quoted = gone.map((each) => `“${{each.slice(0, 80).replace(/[<>&]/g, (sign) => `&#${{sign.charCodeAt(0)}};`)}}”`);
  const words = `The address asks for ${{new Intl.ListFormat("en-GB").format(quoted)}}; the page shows what it has.`;
  return gone.length ? `<div class="problem" role="status">${{words}}</div>` : "";
}}
"""
# The address follows what the visitor chooses; what the page begins with needs no name.
NAME: Final = f"""
(source, style, street, chosen, offers) => {{
  const address = new URL(location.href), named = address.searchParams, own = source === {json.dumps(OWN)};
  for (const name of ["photo", "style", "street", "methods"]) named.delete(name);
  if (!own && style !== {json.dumps(FIRST_STYLE)}) named.set("style", style);
  if (!own && street !== null && street !== {FIRST_STREET}) named.set("street", street);
  for (const name of own ? [] : (chosen[source] ?? []))
    named.append("methods", offers.choices.find(([, each]) => each === name)?.[0] ?? name);
  if (address.href !== location.href) history.replaceState(history.state, "", address);
}}
"""
# Opens Benchmark in the room that the address asks for.
ROOM: Final = f"""
() => {{
  const named = window.asked ??= new URLSearchParams(location.search), room = named.get("show");
  const same = {{ __type__: "update" }}, turned = (id) => ({{ __type__: "update", selected: id }});
  return {json.dumps(ROOMS)}.includes(room) ? [turned({json.dumps(BENCHMARK)}), turned(room)] : [same, same];
}}
"""
# What the address asks "Image by image" for, by title.
IMAGES: Final = """
() => {
  const named = window.asked ??= new URLSearchParams(location.search);
  return Object.fromEntries(["set", "reader", "against"].map((name) => [name, named.get(name) ?? ""]));
}
"""
# The address follows what the visitor chooses in Benchmark; elsewhere it does not lead there.
NAME_ROOM: Final = f"""
(tab, room, set, reader, against, titles) => {{
  window.asked ??= new URLSearchParams(location.search);
  const address = new URL(location.href), named = address.searchParams;
  for (const name of ["show", "set", "reader", "against"]) named.delete(name);
  if (tab === {json.dumps(BENCHMARK)}) {{
    named.set("show", room);
    if (room === {json.dumps(ROOMS[-1])})
      for (const [name, chosen] of Object.entries({{ set, reader, against }})) {{
        const {{ [chosen]: title }} = titles[name] ?? {{}};
        if (title && chosen !== titles.first[name]) named.set(name, title);
      }}
  }}
  if (address.href !== location.href) history.replaceState(history.state, "", address);
}}
"""
