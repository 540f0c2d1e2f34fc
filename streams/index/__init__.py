"""A proxy for a package index: refuses known bad, typosquatting and too recent releases."""
