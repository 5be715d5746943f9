#pragma once

#include <complex>

#include "runrig/shm/dtype.hpp"

/// Complex numbers as elements of arrays: a header of its own, since <complex> is a large one.
namespace runrig {

namespace detail {
template <>
struct DTypeOf<std::complex<float>> : std::integral_constant<DType, DType::complex64> {};
template <>
struct DTypeOf<std::complex<double>> : std::integral_constant<DType, DType::complex128> {};
}  // namespace detail

/// As visit_dtype(), for complex types also.
template <class Visitor>
decltype(auto) visit_any_dtype(DType dtype, Visitor&& visitor) {
  if (dtype == DType::complex64) return visitor(std::type_identity<std::complex<float>>{});
  if (dtype == DType::complex128) return visitor(std::type_identity<std::complex<double>>{});
  return visit_dtype(dtype, std::forward<Visitor>(visitor));
}

}  // namespace runrig
