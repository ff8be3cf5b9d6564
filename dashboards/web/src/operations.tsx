export const Operations = (_: { id: string | undefined }) => null
