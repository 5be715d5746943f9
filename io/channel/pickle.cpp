#include "runrig/channel/pickle.hpp"
