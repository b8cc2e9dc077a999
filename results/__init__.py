"""From scores and items to intervals, comparisons, claims, tables, figures and one report.

`results` knows of the other parts only the score schema (`eval.schema`). The door is `results.summaries.study`.
"""
