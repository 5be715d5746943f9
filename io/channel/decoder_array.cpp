#include <array>
#include <string>
#include <utility>
#include <vector>

#include "form_bytes.hpp"
#include "runrig/channel/decoder.hpp"
#include "tree.hpp"

/// Arrays, read where they lie.
namespace runrig::pickle {
namespace {

using detail::form;
using detail::Op;

using DTypeForm = std::pair<std::string, std::vector<std::byte>>;
std::vector<DTypeForm> make_dtype_forms() {
  std::vector<DTypeForm> forms;
  for (const std::string code :
       {"f8", "f4", "i8", "i4", "u1", "b1", "u8", "u4", "i2", "u2", "i1", "f2", "c16", "c8", "f16", "c32"}) {
    for (const char order : {'<', '|', '>'}) {
      const std::string dtype = order + code;
      if (numpy_item_bytes(dtype)) forms.emplace_back(dtype, form([&](auto each) { each.dtype(dtype); }));
    }
  }
  return forms;
}

}  // namespace

bool Decoder::try_form(std::span<const std::byte> form) noexcept {
  if (static_cast<std::size_t>(end_ - at_) < form.size() || !std::equal(form.begin(), form.end(), at_)) return false;
  at_ += form.size();
  return true;
}

Shape Decoder::extents() {
  Shape shape;
  expect(Op::mark);
  while (at_ != end_ && *at_ != static_cast<std::byte>(Op::tuple)) {
    const detail::Integer extent = any_integer();
    if (extent.negative || shape.rank() == max_rank) unexpected();
    shape.push_back(extent.bits);
  }
  expect(Op::tuple);
  return shape;
}

std::string_view Decoder::dtype() {
  static const std::vector<DTypeForm> forms = make_dtype_forms();
  for (const auto& [dtype, bytes] : forms) {
    if (try_form(bytes)) return dtype;
  }
  unexpected();
}

NdBuffer Decoder::array() {
  if (tree_) return tree_->array();
  static const auto head = form([](auto each) { each.array_head(); });
  static const auto beside = form([](auto each) { each.array_beside_head(); });
  static const std::array tails{form([](auto each) { each.array_beside_tail(Order::c); }),
                                form([](auto each) { each.array_beside_tail(Order::fortran); })};
  const bool inside = try_form(head);
  if (!inside && !try_form(beside)) unexpected();
  const Shape shape = extents();
  const std::string_view type = dtype();
  Order order = Order::c;
  Buffer content;
  if (inside) {
    order = boolean() ? Order::fortran : Order::c;
    content.bytes = bytes();
    expect(Op::tuple);
    expect(Op::build);
  } else {
    if (!try_form(tails[0])) {
      if (!try_form(tails[1])) unexpected();
      order = Order::fortran;
    }
    if (buffers_.empty()) unexpected();
    content = buffers_.front();
    buffers_ = buffers_.subspan(1);
  }
  if (shape.checked_bytes(*numpy_item_bytes(type)) != content.bytes.size()) unexpected();
  return {type, shape, order, content.bytes, std::move(content.owner)};
}

NdBuffer Decoder::array_of(DType dtype) {
  NdBuffer found = array();
  if (!found.holds(dtype)) fail("expected an array of " + std::string(dtype_name(dtype)) + ", found " + found.dtype());
  return found;
}

}  // namespace runrig::pickle
