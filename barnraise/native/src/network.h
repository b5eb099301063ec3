// Batcher's merge exchange for 32 values: the comparisons of merge/sorting.py's comparisons(32).
//
// Those that stay below K sort K values, so one list serves every K up to 32: CE(low, high) is a macro that does
// nothing where high >= K. They are ordered depth first (lines of one residue are finished before they meet the
// others), so that few values are under way at once and they fit into registers. tests/unit/test_merge_sorting.py
// compares the list with the Python code, and sorts with it.
#ifndef BARNRAISE_NETWORK_H
#define BARNRAISE_NETWORK_H

// clang-format off
#define NETWORK(CE) \
  CE(0, 16) CE(8, 24) CE(0, 8) CE(16, 24) CE(8, 16) CE(4, 20) CE(12, 28) CE(4, 12) CE(20, 28) CE(12, 20) CE(0, 4) \
  CE(8, 12) CE(16, 20) CE(24, 28) CE(4, 16) CE(12, 24) CE(4, 8) CE(12, 16) CE(20, 24) CE(2, 18) CE(10, 26) \
  CE(2, 10) CE(18, 26) CE(10, 18) CE(6, 22) CE(14, 30) CE(6, 14) CE(22, 30) CE(14, 22) CE(2, 6) CE(10, 14) \
  CE(18, 22) CE(26, 30) CE(6, 18) CE(14, 26) CE(6, 10) CE(14, 18) CE(22, 26) CE(0, 2) CE(4, 6) CE(8, 10) \
  CE(12, 14) CE(16, 18) CE(20, 22) CE(24, 26) CE(28, 30) CE(2, 16) CE(6, 20) CE(10, 24) CE(14, 28) CE(2, 8) \
  CE(6, 12) CE(10, 16) CE(14, 20) CE(18, 24) CE(22, 28) CE(2, 4) CE(6, 8) CE(10, 12) CE(14, 16) CE(18, 20) \
  CE(22, 24) CE(26, 28) CE(1, 17) CE(9, 25) CE(1, 9) CE(17, 25) CE(9, 17) CE(5, 21) CE(13, 29) CE(5, 13) \
  CE(21, 29) CE(13, 21) CE(1, 5) CE(9, 13) CE(17, 21) CE(25, 29) CE(5, 17) CE(13, 25) CE(5, 9) CE(13, 17) \
  CE(21, 25) CE(3, 19) CE(11, 27) CE(3, 11) CE(19, 27) CE(11, 19) CE(7, 23) CE(15, 31) CE(7, 15) CE(23, 31) \
  CE(15, 23) CE(3, 7) CE(11, 15) CE(19, 23) CE(27, 31) CE(7, 19) CE(15, 27) CE(7, 11) CE(15, 19) CE(23, 27) \
  CE(1, 3) CE(5, 7) CE(9, 11) CE(13, 15) CE(17, 19) CE(21, 23) CE(25, 27) CE(29, 31) CE(3, 17) CE(7, 21) \
  CE(11, 25) CE(15, 29) CE(3, 9) CE(7, 13) CE(11, 17) CE(15, 21) CE(19, 25) CE(23, 29) CE(3, 5) CE(7, 9) \
  CE(11, 13) CE(15, 17) CE(19, 21) CE(23, 25) CE(27, 29) CE(0, 1) CE(2, 3) CE(4, 5) CE(6, 7) CE(8, 9) CE(10, 11) \
  CE(12, 13) CE(14, 15) CE(16, 17) CE(18, 19) CE(20, 21) CE(22, 23) CE(24, 25) CE(26, 27) CE(28, 29) CE(30, 31) \
  CE(1, 16) CE(3, 18) CE(5, 20) CE(7, 22) CE(9, 24) CE(11, 26) CE(13, 28) CE(15, 30) CE(1, 8) CE(3, 10) CE(5, 12) \
  CE(7, 14) CE(9, 16) CE(11, 18) CE(13, 20) CE(15, 22) CE(17, 24) CE(19, 26) CE(21, 28) CE(23, 30) CE(1, 4) \
  CE(3, 6) CE(5, 8) CE(7, 10) CE(9, 12) CE(11, 14) CE(13, 16) CE(15, 18) CE(17, 20) CE(19, 22) CE(21, 24) \
  CE(23, 26) CE(25, 28) CE(27, 30) CE(1, 2) CE(3, 4) CE(5, 6) CE(7, 8) CE(9, 10) CE(11, 12) CE(13, 14) CE(15, 16) \
  CE(17, 18) CE(19, 20) CE(21, 22) CE(23, 24) CE(25, 26) CE(27, 28) CE(29, 30)
// clang-format on

#endif
