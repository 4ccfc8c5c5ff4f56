// Which disks are protected.
export const protection = {
  "nav.protection": ["Protection", "保护情况"],
  "protection.lead": [
    "What there would be of each disk if it were lost now: its last snapshot that is whole, and what is known of it.",
    "如果现在丢失云硬盘，可以恢复到什么程度：最近一个完好的快照及其情况。",
  ],
  "protection.all": ["All disks", "全部云硬盘"],
  "protection.disk": ["Disk", "云硬盘"],
  "protection.failed": ["{count} failed since", "此后失败 {count} 次"],
  "protection.filter": ["Filter by protection", "按保护情况筛选"],
  "protection.last": ["Last good snapshot", "最近的完好快照"],
  "protection.next": ["Next run", "下次执行"],
  "protection.none": ["No disks yet", "暂无云硬盘"],
  "protection.noneText": ["Create a disk, then create a snapshot of it.", "请先新建云硬盘，然后创建快照。"],
  "protection.noSchedule": ["no schedule", "无计划"],
  "protection.noSnapshot": ["none", "无"],
  "protection.proof": ["Restore test", "恢复测试"],
  "protection.state.false": ["Unprotected", "未受保护"],
  "protection.state.true": ["Protected", "已保护"],
  "protection.stored": ["Stored", "存储大小"],
  "protection.verified": ["Verified", "校验时间"],
} as const;
