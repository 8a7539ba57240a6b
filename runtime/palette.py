"""The colours of all pages: one ramp for accuracy, one colour for "bad", ink for the load. Every colour has a dark twin."""

CSS = """\
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f8; --ink: #15191d; --soft: #58636e; --faint: #8b959e; --rule: #dfe3e7; --halo: #ffffff;
  --good: #1d6fa5; --bad: #c2410c; --wash: #fdf3ec; --focus: #1d6fa5;
  --v0: #dcf0c3; --v1: #b4e0b9; --v2: #7fcdbb; --v3: #41b6c4; --v4: #1d91c0; --v5: #225ea8; --v6: #0c2c84; --other: #b9bfc5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --panel: #1c2126; --ink: #eceff1; --soft: #a3adb6; --faint: #76818b; --rule: #323a42; --halo: #14181c;
    --good: #6cb8e6; --bad: #ff9160; --wash: #2a211b; --focus: #6cb8e6;
    --v0: #26456e; --v1: #1f6391; --v2: #2183a6; --v3: #3aa3ae; --v4: #68c0ad; --v5: #a3d9b1; --v6: #e0f0c4; --other: #59626b;
  }
}
"""
