// What every file of loops shares. See barnraise/native/__init__.py for the rules.
#ifndef BARNRAISE_KERNELS_H
#define BARNRAISE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define BARNRAISE_ABI 7 // the same number as ABI in barnraise/native/__init__.py

#define EXPORT __attribute__((visibility("default")))

// Compiled once for each vector width; the loader takes the widest that the processor has.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif

#endif
