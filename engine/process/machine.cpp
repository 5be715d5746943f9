#include "runrig/engine/machine.hpp"
