/* Kernels that do what kernels may, and what they should not. Compiled by the test as docs/kernels.md says. */
#include <math.h>
#include <runrig/kernel.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Elements as they are, of every type, and what the block is: two outputs of two types. */
RUNRIG_KERNEL(copy_and_place, "any -> any uint64") {
  static const size_t item_bytes[] = {0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8, 8, 16};
  const runrig_input* in = &block->inputs[0];
  if (in->dtype != block->outputs[0].dtype)
    return runrig_fail(block, "types %d and %d", in->dtype, block->outputs[0].dtype);
  memcpy(block->outputs[0].data, in->data, block->count * item_bytes[in->dtype]);
  uint64_t* place = block->outputs[1].data;
  for (uint64_t i = 0; i < block->count; ++i) {
    uint64_t rest = i, index = 0, pitch = 1;
    for (uint32_t axis = block->rank; axis-- > 0;) {
      index += (block->start[axis] + rest % block->extent[axis]) * pitch;
      rest /= block->extent[axis];
      pitch *= block->shape[axis];
    }
    place[i] = index;
  }
  return 0;
}

/* Three inputs, the last a scalar; three outputs. Booleans by any byte. */
RUNRIG_KERNEL(three, "float64 float32 int64 -> float64 bool int32") {
  const double* a = block->inputs[0].data;
  const float* b = block->inputs[1].data;
  const int64_t* c = block->inputs[2].data;
  if (block->inputs[2].count != 1) return runrig_fail(block, "%s is no scalar", block->inputs[2].name);
  if ((uintptr_t)a % 64 != 0 || (uintptr_t)b % 64 != 0) return runrig_fail(block, "not aligned");
  double* sum = block->outputs[0].data;
  unsigned char* larger = block->outputs[1].data;
  int32_t* floored = block->outputs[2].data;
  for (uint64_t i = 0; i < block->count; ++i) {
    sum[i] = a[i] + (double)b[i] + (double)*c;
    larger[i] = a[i] > (double)b[i] ? 0x80 : 0;
    floored[i] = (int32_t)floor(a[i]);
  }
  return 0;
}

/* Writes nothing. */
RUNRIG_KERNEL(idle, "any -> float32") { return (int)(block->count == 0); }

/* Fails as --parameter says, where an element is 7. */
RUNRIG_KERNEL(fail, "int32 -> int32") {
  const int32_t* in = block->inputs[0].data;
  int seven = 0;
  for (uint64_t i = 0; i < block->count; ++i) seven = seven || in[i] == 7;
  if (!seven) return 0;
  if (strcmp(block->parameter, "return") == 0) return 42;
  if (strcmp(block->parameter, "say") == 0) return runrig_fail(block, "there is a %d\nin it%600s", 7, "");
  if (strcmp(block->parameter, "crash") == 0) return *(volatile int*)NULL;
  if (strcmp(block->parameter, "abort") == 0) abort();
  if (strcmp(block->parameter, "exit") == 0) exit(0);
  if (strcmp(block->parameter, "hang") == 0) {
    for (volatile int i = 0; i == 0;) {
    }
  }
  return runrig_fail(block, "unknown: %s", block->parameter);
}

int plain(int x);
int plain(int x) { return x; }

/* As another version of the header would leave it. */
extern const runrig_kernel_info runrig_kernel_older;
const runrig_kernel_info runrig_kernel_older = {RUNRIG_KERNEL_ABI + 1, sizeof(runrig_block), "any -> any"};
int older(const runrig_block* block);
int older(const runrig_block* block) { return (int)block->rank; }

RUNRIG_KERNEL(no_arrow, "float64") { return (int)block->rank; }
RUNRIG_KERNEL(no_type, "float64 -> float128") { return (int)block->rank; }
RUNRIG_KERNEL(integers, "int16 -> int16") { return (int)(block->count == 0); }
