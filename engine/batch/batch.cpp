#include "runrig/batch/batch.hpp"
