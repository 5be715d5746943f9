#include "expression_operations.hpp"

namespace runrig::detail {

Op op_of(Operation operation) noexcept {
  switch (operation) {
    case Operation::add:
      return Op::add;
    case Operation::subtract:
      return Op::subtract;
    case Operation::multiply:
      return Op::multiply;
    case Operation::divide:
      return Op::divide;
    case Operation::floor_divide:
      return Op::floor_divide;
    case Operation::remainder:
      return Op::remainder;
    case Operation::power:
      return Op::power;
    case Operation::negative:
      return Op::negative;
    case Operation::bit_and:
      return Op::bit_and;
    case Operation::bit_xor:
      return Op::bit_xor;
    case Operation::bit_or:
      return Op::bit_or;
    case Operation::absolute:
    case Operation::fabs:
      return Op::absolute;
    case Operation::sign:
      return Op::sign;
    case Operation::floor:
      return Op::floor;
    case Operation::ceil:
      return Op::ceil;
    case Operation::trunc:
      return Op::trunc;
    case Operation::rint:
    case Operation::round:
      return Op::rint;
    case Operation::left_shift:
      return Op::shift_left;
    case Operation::right_shift:
      return Op::shift_right;
    case Operation::fmod:
      return Op::fmod;
    case Operation::copysign:
      return Op::copysign;
    case Operation::minimum:
      return Op::minimum;
    case Operation::maximum:
      return Op::maximum;
    case Operation::isnan:
      return Op::isnan;
    case Operation::isinf:
      return Op::isinf;
    case Operation::isfinite:
      return Op::isfinite;
    case Operation::conjugate:
      return Op::conjugate;
    default:
      break;
  }
  // From here both lists go on in the same order.
  const auto index = static_cast<int>(operation) - static_cast<int>(Operation::cbrt);
  return operation == Operation::sqrt ? Op::sqrt : static_cast<Op>(static_cast<int>(Op::cbrt) + index);
}
static_assert(static_cast<int>(Operation::hypot) - static_cast<int>(Operation::cbrt) ==
              static_cast<int>(Op::hypot) - static_cast<int>(Op::cbrt));

bool rounds(Op op) noexcept {
  switch (op) {
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::divide:
    case Op::floor_divide:
    case Op::remainder:
    case Op::power:
      return true;
    default:
      return op >= Op::sqrt;
  }
}

}  // namespace runrig::detail
