export const Waiting = () => null
