#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "worker.hpp"

namespace runrig::bench {

/// One array size to be measured in Python.
struct PythonCase {
  std::size_t size_bytes = 0;
  int turns = 0;
  double expected_sum = 0;
};

/// An interpreter that can import NumPy: `chosen` alone if it is not empty, else the first of $RUNRIG_PYTHON, python3
/// and /usr/bin/python3. Empty if there is none.
[[nodiscard]] std::string find_python(const std::string& chosen);

/// Seconds per turn, by size: multiprocessing.Pipe, an array sent, its sum received. Both ends stay on the CPUs of
/// `placement`. The array is 0, 1, ... 250, 0, 1, ... as float64. Sizes that failed are missing from the result;
/// `failure` says why. Throws Error for a wrong sum, Cancelled.
[[nodiscard]] std::map<std::size_t, std::vector<double>> measure_python(const std::string& python,
                                                                        const std::vector<PythonCase>& cases,
                                                                        const Placement& placement,
                                                                        const std::function<bool()>& cancelled,
                                                                        std::string& failure);

}  // namespace runrig::bench
