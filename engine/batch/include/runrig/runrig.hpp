#pragma once

/// The whole house. Programs that need one room include its headers by themselves.

#include "runrig/batch/arrays.hpp"
#include "runrig/batch/session.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/channel/transfer.hpp"
#include "runrig/channel/transfer_shm.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/engine/parallel.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/remote_exception.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/engine/threads.hpp"
#include "runrig/shm/heap.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/shm/sweep.hpp"
#include "runrig/shm/value.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/lock.hpp"
