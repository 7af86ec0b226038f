/** Types of nodes that take numbers one by one, wherever they lie: they may write over an operand, and work in any order. */
export const elementwiseTypes: readonly string[] = [
  ...["Add", "Sub", "Mul", "Div", "Neg", "Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Reciprocal", "Abs"],
  ...["Relu", "QuickGelu"],
];
