#include <array>
#include <cstring>
#include <limits>

#include "globals.hpp"
#include "node.hpp"
#include "text.hpp"

/// NumPy's constructors.
namespace runrig::pickle::detail {
namespace {

/// "<f8" from Python's "f8", in the machine's order.
std::string native_dtype(std::string_view code) {
  for (const char order : {'<', '|'}) {
    std::string dtype = order + std::string(code.substr(0, 4));
    if (code.size() <= 3 && numpy_item_bytes(dtype)) return dtype;
  }
  throw Refused("a NumPy type that is not numeric: '" + printable(code) + "'");
}

Shape shape_of(const Object& tuple) {
  expect_argument(tuple.kind() == Kind::tuple, "an array's shape");
  if (tuple.size() > max_rank) throw Refused("an array of more than " + std::to_string(max_rank) + " axes");
  Shape shape;
  for (const Object& extent : tuple.items()) {
    expect_argument(extent.kind() == Kind::integer && extent.as_big_int().to_int64().value_or(-1) >= 0,
                    "an array's shape");
    shape.push_back(extent.as_uint());
  }
  return shape;
}

/// The elements of `dense`, in C order of its axes permuted by `axes`: what numpy.transpose() makes of it.
std::vector<std::byte> gather(std::span<const std::byte> dense, std::size_t item, const Shape& shape,
                              std::span<const std::size_t> axes) {
  const std::size_t rank = shape.rank();
  std::array<std::size_t, max_rank> steps{};  // in bytes, along the axes of the result
  std::size_t step = item;
  for (std::size_t axis = rank; axis-- > 0; step *= static_cast<std::size_t>(shape[axis])) {
    for (std::size_t i = 0; i < rank; ++i) {
      if (axes[i] == axis) steps[i] = step;
    }
  }
  std::vector<std::byte> result(dense.size());
  std::array<std::uint64_t, max_rank> index{};
  std::size_t from = 0;
  for (std::size_t to = 0; to < result.size(); to += item) {
    std::memcpy(result.data() + to, dense.data() + from, item);
    for (std::size_t i = rank; i-- > 0;) {  // as an odometer
      from += steps[i];
      if (++index[i] < shape[axes[i]]) break;
      from -= steps[i] * static_cast<std::size_t>(shape[axes[i]]);
      index[i] = 0;
    }
  }
  return result;
}

}  // namespace

Object Constructor::dtype(std::span<const Object> arguments) {
  // (code, align, copy); NumPy writes False, True, or 0, 1 before 1.17.
  expect_argument(arguments.size() == 3 && arguments[0].kind() == Kind::string, "numpy.dtype");
  budget_.charge_node<DTypeNode>();
  return Access::make<DTypeNode>(native_dtype(arguments[0].as_string()));
}

Object Constructor::scalar(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 2, "a NumPy scalar");
  return array(Kind::numpy_scalar, arguments[0], Object::tuple(), Order::c, arguments[1]);
}

Object Constructor::reconstruct(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 3, "a NumPy array");
  const Node* const type = Access::raw_node(arguments[0]);
  if (type == nullptr || type->kind != kind_global ||
      static_cast<const GlobalNode*>(type)->global.id != Global::Id::ndarray) {
    throw Refused("a subclass of numpy.ndarray");
  }
  expect_argument(arguments[1] == Object::tuple({0}) && arguments[2] == Object::bytes({std::byte{'b'}}),
                  "a NumPy array");
  budget_.charge_node<ArrayNode>();
  return NdBuffer(DType::int8, Shape{0}, {});  // as in NumPy, until BUILD gives it its contents
}

Object Constructor::frombuffer(std::span<const Object> arguments) {
  if (arguments.size() == 5 && is_str(arguments[3], "K")) return transposed(arguments);
  expect_argument(arguments.size() == 4, "a NumPy array");
  const bool fortran = is_str(arguments[3], "F");
  if (!fortran && !is_str(arguments[3], "C"))
    throw Refused("an array whose axes are neither in C's nor in Fortran's order");
  return array(Kind::array, arguments[1], arguments[2], fortran ? Order::fortran : Order::c, arguments[0]);
}

Object Constructor::array(Kind kind, const Object& dtype, const Object& shape_tuple, Order order, const Object& bytes) {
  expect_argument(dtype.kind() == Kind::numpy_dtype, "a NumPy array's dtype");
  expect_argument(bytes.kind() == Kind::bytes || bytes.kind() == Kind::bytearray, "a NumPy array's bytes");
  const Shape shape = shape_of(shape_tuple);
  const auto content = bytes.as_bytes();
  if (shape.checked_bytes(*numpy_item_bytes(dtype.as_dtype())) != content.size()) {
    throw Refused("an array of " + dtype.as_dtype() + " and shape " + to_string(shape) + " with " +
                  std::to_string(content.size()) + " bytes");
  }
  budget_.charge_node<ArrayNode>();
  // The array shares the bytes with the object that the stream made first; both are immutable here.
  return Access::make<ArrayNode>(kind, NdBuffer(dtype.as_dtype(), shape, order, content, Access::node(bytes)));
}

// numpy.ndarray(shape, dtype, buffer, 0, None, order): how we name an array over a buffer, by NumPy's public function.
Object Constructor::ndarray(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 6 && is_int(arguments[3], 0) && arguments[4].is_none() &&
                      (is_str(arguments[5], "C") || is_str(arguments[5], "F")),
                  "a NumPy array");
  const Order order = is_str(arguments[5], "F") ? Order::fortran : Order::c;
  return array(Kind::array, arguments[1], arguments[0], order, arguments[2]);
}

// _frombuffer(buffer, dtype, shape, "K", axes), of NumPy 2.3 and later, for arrays whose axes lie in another order.
Object Constructor::transposed(std::span<const Object> arguments) {
  expect_argument(arguments[4].kind() == Kind::tuple, "the order of a NumPy array's axes");
  const Object dense = array(Kind::array, arguments[1], arguments[2], Order::c, arguments[0]);
  const NdBuffer& from = dense.as_array();
  const std::size_t rank = from.shape().rank();
  std::vector<std::size_t> axes;
  std::uint64_t seen = 0;
  for (const Object& axis : arguments[4].items()) {
    expect_argument(axis.kind() == Kind::integer, "the order of a NumPy array's axes");
    const auto place = static_cast<std::uint64_t>(axis.as_big_int().to_int64().value_or(-1));
    expect_argument(place < rank && (seen >> place & 1U) == 0, "the order of a NumPy array's axes");
    seen |= std::uint64_t{1} << place;
    axes.push_back(static_cast<std::size_t>(place));
  }
  expect_argument(axes.size() == rank, "the order of a NumPy array's axes");
  Shape shape;
  for (const std::size_t axis : axes) shape.push_back(from.shape()[axis]);
  budget_.charge_copy(from.bytes().size());
  budget_.charge_node<ArrayNode>();
  return NdBuffer(from.dtype(), shape, Order::c,
                  gather(from.bytes(), *numpy_item_bytes(from.dtype()), from.shape(), axes));
}

void Constructor::set_array_state(const Object& object, const Object& state) {
  expect_argument(
      state.kind() == Kind::tuple && state.size() == 5 && is_int(state.at(0), 1) && state.at(3).kind() == Kind::boolean,
      "a NumPy array's state");
  const Order order = state.at(3).as_bool() ? Order::fortran : Order::c;
  Access::as<ArrayNode>(object).value = array(Kind::array, state.at(2), state.at(1), order, state.at(4)).as_array();
}

// (3, order, subdtype, names, fields, item size, alignment, flags); structured types would use 3 to 5.
void Constructor::set_dtype_state(const Object& object, const Object& state) {
  expect_argument(state.kind() == Kind::tuple && state.size() == 8 && is_int(state.at(0), 3) &&
                      state.at(1).kind() == Kind::string && state.at(2).is_none() && state.at(3).is_none() &&
                      state.at(4).is_none(),
                  "a numeric dtype's state");
  std::string& dtype = Access::as<DTypeNode>(object).value;
  const std::string& order = state.at(1).as_string();
  const std::string ordered = (order == "=" ? dtype.substr(0, 1) : order.substr(0, 2)) + dtype.substr(1);
  expect_argument(numpy_item_bytes(ordered).has_value(), "a numeric dtype's byte order");
  dtype = ordered;
}

}  // namespace runrig::pickle::detail
