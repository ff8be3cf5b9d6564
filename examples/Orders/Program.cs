// Orders over RabbitMQ and Redis: an engine and three services, each a project and a process of its own. This program starts them all, on private servers:
//
//   dotnet run --project examples/Orders [-- --orders 500 --rate 50 --port 5080 --kill]
//
//   Engine ─▶ RabbitMQ ─▶ Inventory    data and barrier in Redis
//     │               ├─▶ Payment      data and barrier in Redis
//   Redis             └─▶ Shipping     data and barrier in files
//
// One alone, with servers that are there already:
//
//   Sagas__Redis__Connection=localhost Sagas__RabbitMq__Url=amqp://localhost dotnet run --project examples/Orders/Inventory

return await Orders.Demo.RunAsync(args);
