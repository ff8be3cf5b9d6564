export const Nodes = () => null
