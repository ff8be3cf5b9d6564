export const Definitions = (_: { name: string | undefined }) => null
