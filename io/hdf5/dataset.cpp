#include "runrig/hdf5/dataset.hpp"
