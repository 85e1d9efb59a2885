"""The steps of a search, and the index behind them: sketched, tuned, published, served."""
