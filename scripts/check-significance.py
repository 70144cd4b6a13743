#!/usr/bin/env python3
"""Reference values for the tests of dependent correlations in juror-stats (needs scipy).

Williams' t and Steiger's Z for r_first = 0.5, r_second = 0.3, between = 0.6, n = 103.
"""
import math

from scipy.stats import norm, t

r, s, b, n = 0.5, 0.3, 0.6, 103

determinant = 1 - r**2 - s**2 - b**2 + 2 * r * s * b
williams = (r - s) * math.sqrt(
    ((n - 1) * (1 + b)) / (2 * (n - 1) / (n - 3) * determinant + (r + s) ** 2 / 4 * (1 - b) ** 3)
)
print("williams", repr(williams), repr(2 * t.sf(abs(williams), n - 3)))

mean = (r + s) / 2
psi = b * (1 - 2 * mean**2) - 0.5 * mean**2 * (1 - 2 * mean**2 - b**2)
steiger = (math.atanh(r) - math.atanh(s)) * math.sqrt((n - 3) / (2 - 2 * psi / (1 - mean**2) ** 2))
print("steiger", repr(steiger), repr(2 * norm.sf(abs(steiger))))
