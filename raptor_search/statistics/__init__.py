"""Classes and splits, kNN and linear models, calibration, intervals, leaks and confounds."""
