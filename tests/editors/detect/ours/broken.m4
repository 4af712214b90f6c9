@@ )(
policy half (HttpRe
