#pragma once

#include <Eigen/Core>
#include <concepts>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include "runrig/channel/transfer_types.hpp"
#include "runrig/shm/complex.hpp"
#include "runrig/shm/view.hpp"

/// How Eigen's matrices and arrays cross: as numpy.ndarrays, vectors with one axis. Include this where they do.
namespace runrig {

namespace detail {

template <class T>
concept EigenDense = std::is_base_of_v<Eigen::DenseBase<T>, T> && Element<typename T::Scalar>;

template <class Plain>
inline constexpr bool is_eigen_vector = Plain::IsVectorAtCompileTime != 0;

/// The shape of `rows` by `columns` in the fewest axes, and what Python's NumPy calls the order of its elements.
template <class Plain>
Shape eigen_shape(Eigen::Index rows, Eigen::Index columns) {
  const auto extent = [](Eigen::Index count) { return static_cast<std::uint64_t>(count); };
  if constexpr (is_eigen_vector<Plain>) return {extent(rows) * extent(columns)};
  return {extent(rows), extent(columns)};
}

constexpr bool fits(std::uint64_t extent, int fixed, int most) noexcept {
  constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<Eigen::Index>::max());
  if (fixed != Eigen::Dynamic) return extent == static_cast<std::uint64_t>(fixed);
  return extent <= (most == Eigen::Dynamic ? largest : static_cast<std::uint64_t>(most));
}

template <class Plain>
Plain read_eigen(pickle::Decoder& decoder) {
  using Scalar = typename Plain::Scalar;
  const auto found = decoder.array_of(dtype_of<Scalar>);
  const Shape& shape = found.shape();
  constexpr bool is_row = Plain::RowsAtCompileTime == 1;
  std::uint64_t rows = 1;
  std::uint64_t columns = 1;
  if (is_eigen_vector<Plain> && shape.rank() == 1) {
    (is_row ? columns : rows) = shape[0];
  } else if (shape.rank() == 2) {
    rows = shape[0];
    columns = shape[1];
  } else {
    decoder.fail("an array of shape " + to_string(shape) + ", where a " +
                 (is_eigen_vector<Plain> ? "vector" : "matrix") + " was expected");
  }
  if (!fits(rows, Plain::RowsAtCompileTime, Plain::MaxRowsAtCompileTime) ||
      !fits(columns, Plain::ColsAtCompileTime, Plain::MaxColsAtCompileTime)) {
    decoder.fail("an array of shape " + to_string(shape) + ", which the matrix that was expected cannot have");
  }
  decoder.charge(found.bytes().size());
  Plain matrix;
  matrix.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns));
  AnyArrayRef to = NdView<Scalar>(matrix.data(), shape).ref();
  if (!Plain::IsRowMajor && shape.rank() == 2) to.strides = column_major_strides(shape);
  found.copy_to(to);
  return matrix;
}

}  // namespace detail

/// Arrives as a matrix or array that owns its elements: of a Map or an expression, what Eigen evaluates it to. Read
/// from arrays of the same element type in any byte order and memory order; vectors also from those with two axes.
template <detail::EigenDense T>
struct Transfer<T> {
  using Plain = typename T::PlainObject;
  static void write(pickle::Encoder& encoder, const T& value) {
    if constexpr (std::same_as<T, Plain>) {
      write_plain(encoder, value, nullptr);
    } else {
      const auto plain = std::make_shared<const Plain>(value);
      write_plain(encoder, *plain, plain);
    }
  }
  static Plain read(pickle::Decoder& decoder) { return detail::read_eigen<Plain>(decoder); }

 private:
  static void write_plain(pickle::Encoder& encoder, const Plain& value, std::shared_ptr<const void> owner) {
    const auto elements = std::span(value.data(), static_cast<std::size_t>(value.size()));
    const auto order = Plain::IsRowMajor || detail::is_eigen_vector<Plain> ? pickle::Order::c : pickle::Order::fortran;
    encoder.array(dtype_string(dtype_of<typename Plain::Scalar>),
                  detail::eigen_shape<Plain>(value.rows(), value.cols()), order,
                  {std::as_bytes(elements), std::move(owner)});
  }
};

}  // namespace runrig
