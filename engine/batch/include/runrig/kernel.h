/*
 * Kernels of your own for `runrig map --kernel LIBRARY:FUNCTION`: a function in a shared library, called for one block
 * of elements after the other, in worker processes, several at a time. This header is all that it needs: C99 or later,
 * or C++, and nothing to link.
 *
 *     #include <runrig/kernel.h>
 *
 *     RUNRIG_KERNEL(speed, "float64 float64 -> float64") {
 *       const double *u = block->inputs[0].data, *v = block->inputs[1].data;
 *       double *out = block->outputs[0].data;
 *       for (uint64_t i = 0; i < block->count; ++i) out[i] = u[i] * u[i] + v[i] * v[i];
 *       return 0;
 *     }
 *
 *     cc -O3 -shared -fPIC speed.c -o libspeed.so
 *     runrig map --kernel ./libspeed.so:speed month-1.h5 -i u=/wind/u -i v=/wind/v -o speed.h5
 *
 * The text says what the kernel takes and makes, by NumPy's names: bool int8 uint8 int16 uint16 int32 uint32 int64
 * uint64 float16 float32 float64 complex64 complex128, with spaces or commas between them. Inputs of other types are
 * converted before (floats are not made integers, nor numbers booleans, nor real numbers complex or the reverse: that
 * is an error). `any` takes an input as it is, and makes an
 * output of the type that NumPy finds for all inputs together, or of --dtype; then the kernel looks at `dtype`.
 *
 * What a kernel may rely on: inputs are packed arrays of block->count elements in C order, in the machine's byte order,
 * aligned to 64 bytes; a scalar dataset is one element, with count 1. Outputs are the same, full of zeros. The block is
 * a box of the result, as large as fits the cache or one chunk, and `start` and `extent` say which. The function may
 * use threads, allocate up to some hundred megabytes, and keep things in static variables, which belong to one process.
 *
 * What it must not: depend on which blocks it saw before, or on how the result is cut into blocks. The workers take
 * blocks in any order, and one whose worker died is run again. Standard output and standard error lead nowhere.
 *
 * It returns 0, or any other number for an error: then the file has no output, and runrig_fail() gives the reason. A
 * kernel that crashes, throws, leaves the process or computes for longer than --stall without an end costs the file at
 * hand; the others are done.
 */
#ifndef RUNRIG_KERNEL_H
#define RUNRIG_KERNEL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Of what is below. A library built for another version is refused when it is loaded. */
#define RUNRIG_KERNEL_ABI 1

/* Types of elements. float16 is IEEE binary16 in a uint16_t; bool is one byte, 0 or 1; complex ones are two floats or
 * doubles, as C's float _Complex and double _Complex. */
enum {
  RUNRIG_BOOL = 1,
  RUNRIG_INT8 = 2,
  RUNRIG_UINT8 = 3,
  RUNRIG_INT16 = 4,
  RUNRIG_UINT16 = 5,
  RUNRIG_INT32 = 6,
  RUNRIG_UINT32 = 7,
  RUNRIG_INT64 = 8,
  RUNRIG_UINT64 = 9,
  RUNRIG_FLOAT16 = 10,
  RUNRIG_FLOAT32 = 11,
  RUNRIG_FLOAT64 = 12,
  RUNRIG_COMPLEX64 = 13,
  RUNRIG_COMPLEX128 = 14
};

typedef struct runrig_input {
  const void* data;
  uint64_t count;   /* elements: those of the block, or 1 for a scalar */
  const char* name; /* as -i gives it */
  int32_t dtype;
  int32_t reserved;
} runrig_input;

typedef struct runrig_output {
  void* data;
  uint64_t count; /* elements: those of the block */
  int32_t dtype;
  int32_t reserved;
} runrig_output;

/* Everything here belongs to the caller and is valid during the call only. */
typedef struct runrig_block {
  uint64_t count;         /* elements of the block: the product of `extent`, 1 without axes */
  uint32_t rank;          /* axes of the result */
  uint32_t input_count;   /* in the order of -i */
  uint32_t output_count;  /* in the order of --to */
  uint32_t message_bytes; /* room at `message` */
  const uint64_t* shape;  /* of the whole result, slowest axis first */
  const uint64_t* start;  /* coordinates of the block's first element in the result */
  const uint64_t* extent; /* elements of the block along each axis */
  const runrig_input* inputs;
  const runrig_output* outputs;
  const char* parameter; /* the text of --parameter; empty if there is none */
  char* message;         /* for runrig_fail() */
} runrig_block;

typedef int (*runrig_kernel_function)(const runrig_block* block);

/* What RUNRIG_KERNEL() leaves in the library beside the function. */
typedef struct runrig_kernel_info {
  uint32_t abi;
  uint32_t block_bytes;
  const char* signature;
} runrig_kernel_info;

/* `return runrig_fail(block, "no %s", name);`: the reason, as printf() would have it, cut to one line of some length.
 */
static inline int runrig_fail(const runrig_block* block, const char* format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3), unused))
#endif
    ;
static inline int runrig_fail(const runrig_block* block, const char* format, ...) {
  va_list values;
  va_start(values, format);
  (void)vsnprintf(block->message, block->message_bytes, format, values);
  va_end(values);
  return 1;
}

#ifdef __cplusplus
#define RUNRIG_KERNEL_C extern "C"
#else
#define RUNRIG_KERNEL_C extern
#endif
#define RUNRIG_KERNEL_EXPORT __attribute__((visibility("default")))

/* Begins the definition of a kernel, whose one argument is `const runrig_block *block`. */
#define RUNRIG_KERNEL(function, signature)                                                                  \
  RUNRIG_KERNEL_C RUNRIG_KERNEL_EXPORT const runrig_kernel_info runrig_kernel_##function;                   \
  const runrig_kernel_info runrig_kernel_##function = {RUNRIG_KERNEL_ABI, sizeof(runrig_block), signature}; \
  RUNRIG_KERNEL_C RUNRIG_KERNEL_EXPORT int function(const runrig_block* block);                             \
  int function(const runrig_block* block)

#endif /* RUNRIG_KERNEL_H */
