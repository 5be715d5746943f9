#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

/// The fields of aggregates, without the aggregate's help: how many there are shows in how many initialisers fit, and
/// structured bindings lead to them.
namespace runrig::detail {

inline constexpr std::size_t most_fields = 32;

template <class... T>
struct TypeList {};

/// Becomes a value of any type but `Whole` itself.
template <class Whole>
struct AnyField {
  template <class T>
  requires(!std::is_same_v<T, Whole>) constexpr operator T() const noexcept;  // never defined
};
/// Becomes any base of `Whole`.
template <class Whole>
struct AnyBase {
  template <class T>
  requires(std::is_base_of_v<T, Whole> && !std::is_same_v<T, Whole>) constexpr operator T() const noexcept;
};

template <class T, class... Initialiser>
concept InitialisedBy = requires {
  T{std::declval<Initialiser>()...};
};
template <class T, class First, std::size_t... i>
constexpr bool takes_fields(std::index_sequence<i...>) {
  return InitialisedBy<T, First, decltype((static_cast<void>(i), AnyField<T>{}))...>;
}

/// For an aggregate whose fields all start from {}: the number of {} that fit, at most `most_fields` and one.
template <class T>
constexpr std::size_t count_of_empty() {
  // clang-format off
  if constexpr (!requires { T{{}}; }) { return 0; }
  else if constexpr (!requires { T{{},{}}; }) { return 1; }
  else if constexpr (!requires { T{{},{},{}}; }) { return 2; }
  else if constexpr (!requires { T{{},{},{},{}}; }) { return 3; }
  else if constexpr (!requires { T{{},{},{},{},{}}; }) { return 4; }
  else if constexpr (!requires { T{{},{},{},{},{},{}}; }) { return 5; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{}}; }) { return 6; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{}}; }) { return 7; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{}}; }) { return 8; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{}}; }) { return 9; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{}}; }) { return 10; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 11; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 12; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 13; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 14; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 15; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 16; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 17; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 18; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 19; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 20; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 21; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 22; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 23; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 24; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 25; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 26; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 27; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 28; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 29; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 30; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 31; }
  else if constexpr (!requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) { return 32; }
  else { return most_fields + 1; }
  // clang-format on
}
/// For others: the number of values that fit. (An array among the fields would count as its elements.)
template <class T, std::size_t count = most_fields + 1>
constexpr std::size_t count_of_any() {
  if constexpr (count == 0) {
    return 0;
  } else if constexpr (takes_fields<T, AnyField<T>>(std::make_index_sequence<count - 1>{})) {
    return count;
  } else {
    return count_of_any<T, count - 1>();
  }
}

/// Bases count as fields.
template <class T>
requires std::is_aggregate_v<T>
inline constexpr std::size_t field_count = [] {
  if constexpr (std::is_empty_v<T>) {
    return std::size_t{0};
  } else if constexpr (requires { T{}; }) {
    return count_of_empty<T>();
  } else {
    return count_of_any<T>();
  }
}();

/// A struct whose fields can be had one by one: no bases, not too many fields, no tuple by its own account.
template <class T>
concept Decomposable = std::is_class_v<T> && std::is_aggregate_v<T> && !requires {
  std::tuple_size<T>::value;
}
&&field_count<T> <= most_fields &&
    (field_count<T> == 0 ||
     !takes_fields<T, AnyBase<T>>(std::make_index_sequence < field_count<T> == 0 ? 0 : field_count<T> - 1 > {}));

/// Returns visitor(TypeList<types as declared>, fields...), each field as it is in `whole`.
template <class T, class Visitor>
constexpr decltype(auto) visit_fields(T& whole, const Visitor& visitor) {
  constexpr std::size_t count = field_count<std::remove_const_t<T>>;
  if constexpr (count == 0) {
    return visitor(TypeList<>{});
  } else if constexpr (count == 1) {
    auto& [f0] = whole;
    return visitor(TypeList<decltype(f0)>{}, f0);
  } else if constexpr (count == 2) {
    auto& [f0, f1] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1)>{}, f0, f1);
  } else if constexpr (count == 3) {
    auto& [f0, f1, f2] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2)>{}, f0, f1, f2);
  } else if constexpr (count == 4) {
    auto& [f0, f1, f2, f3] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3)>{}, f0, f1, f2, f3);
  } else if constexpr (count == 5) {
    auto& [f0, f1, f2, f3, f4] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4)>{}, f0, f1, f2, f3,
                   f4);
  } else if constexpr (count == 6) {
    auto& [f0, f1, f2, f3, f4, f5] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5)>{}, f0,
                   f1, f2, f3, f4, f5);
  } else if constexpr (count == 7) {
    auto& [f0, f1, f2, f3, f4, f5, f6] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6)>{},
        f0, f1, f2, f3, f4, f5, f6);
  } else if constexpr (count == 8) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7);
  } else if constexpr (count == 9) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8);
  } else if constexpr (count == 10) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9);
  } else if constexpr (count == 11) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10);
  } else if constexpr (count == 12) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11);
  } else if constexpr (count == 13) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12);
  } else if constexpr (count == 14) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13);
  } else if constexpr (count == 15) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14);
  } else if constexpr (count == 16) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15);
  } else if constexpr (count == 17) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16);
  } else if constexpr (count == 18) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17);
  } else if constexpr (count == 19) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12), decltype(f13),
                 decltype(f14), decltype(f15), decltype(f16), decltype(f17), decltype(f18)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18);
  } else if constexpr (count == 20) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12), decltype(f13),
                 decltype(f14), decltype(f15), decltype(f16), decltype(f17), decltype(f18), decltype(f19)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19);
  } else if constexpr (count == 21) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20);
  } else if constexpr (count == 22) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21);
  } else if constexpr (count == 23) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22] =
        whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21), decltype(f22)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
                   f22);
  } else if constexpr (count == 24) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22,
           f23] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21), decltype(f22), decltype(f23)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
                   f22, f23);
  } else if constexpr (count == 25) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12), decltype(f13),
                 decltype(f14), decltype(f15), decltype(f16), decltype(f17), decltype(f18), decltype(f19),
                 decltype(f20), decltype(f21), decltype(f22), decltype(f23), decltype(f24)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
        f24);
  } else if constexpr (count == 26) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12), decltype(f13),
                 decltype(f14), decltype(f15), decltype(f16), decltype(f17), decltype(f18), decltype(f19),
                 decltype(f20), decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
        f24, f25);
  } else if constexpr (count == 27) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25, f26] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21), decltype(f22), decltype(f23),
                            decltype(f24), decltype(f25), decltype(f26)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
                   f22, f23, f24, f25, f26);
  } else if constexpr (count == 28) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25, f26, f27] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21), decltype(f22), decltype(f23),
                            decltype(f24), decltype(f25), decltype(f26), decltype(f27)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
                   f22, f23, f24, f25, f26, f27);
  } else if constexpr (count == 29) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25, f26, f27, f28] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21), decltype(f22), decltype(f23),
                            decltype(f24), decltype(f25), decltype(f26), decltype(f27), decltype(f28)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
                   f22, f23, f24, f25, f26, f27, f28);
  } else if constexpr (count == 30) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25, f26, f27, f28, f29] = whole;
    return visitor(TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11),
                            decltype(f12), decltype(f13), decltype(f14), decltype(f15), decltype(f16), decltype(f17),
                            decltype(f18), decltype(f19), decltype(f20), decltype(f21), decltype(f22), decltype(f23),
                            decltype(f24), decltype(f25), decltype(f26), decltype(f27), decltype(f28), decltype(f29)>{},
                   f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
                   f22, f23, f24, f25, f26, f27, f28, f29);
  } else if constexpr (count == 31) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25, f26, f27, f28, f29, f30] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12), decltype(f13),
                 decltype(f14), decltype(f15), decltype(f16), decltype(f17), decltype(f18), decltype(f19),
                 decltype(f20), decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                 decltype(f26), decltype(f27), decltype(f28), decltype(f29), decltype(f30)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
        f24, f25, f26, f27, f28, f29, f30);
  } else if constexpr (count == 32) {
    auto& [f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
           f24, f25, f26, f27, f28, f29, f30, f31] = whole;
    return visitor(
        TypeList<decltype(f0), decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5), decltype(f6),
                 decltype(f7), decltype(f8), decltype(f9), decltype(f10), decltype(f11), decltype(f12), decltype(f13),
                 decltype(f14), decltype(f15), decltype(f16), decltype(f17), decltype(f18), decltype(f19),
                 decltype(f20), decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                 decltype(f26), decltype(f27), decltype(f28), decltype(f29), decltype(f30), decltype(f31)>{},
        f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23,
        f24, f25, f26, f27, f28, f29, f30, f31);
  }
}

struct TypesOfFields {
  template <class List, class... Field>
  constexpr List operator()(List types, Field&...) const {
    return types;
  }
};
template <Decomposable T>
using FieldTypes = decltype(visit_fields(std::declval<T&>(), TypesOfFields{}));

}  // namespace runrig::detail
